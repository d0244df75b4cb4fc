/* Counts the writes of a process below a folder, and kills the process right before the one it is told.

   Preloaded into the children of the tests (LD_PRELOAD), so that the writes of Rust and C libraries count as well. What
   counts: creating or opening a file for writing, the first of several writes in a row to one file, cutting, renaming,
   linking and deleting files, making and deleting folders. Files of locks do not, nor does the list of checked files. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 65536

static char prefix[PATH_MAX];
static atomic_long count, last_written = -1;
static long fatal;
static int pipe_end = -1;
static _Atomic char watched[FILES];

/* Begin: watch what lies below a folder, report each write to a pipe, die right before write number `number`. */
void moments_arm(const char *folder, long number, int report) {
    strncpy(prefix, folder, sizeof prefix - 1);
    fatal = number;
    pipe_end = report;
}

static int below(int folder, const char *path) {
    char whole[PATH_MAX * 2];
    if (pipe_end < 0 || path == NULL) return 0;
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    if (!strcmp(name, ".lock") || !strcmp(name, ".readers")) return 0;
    /* Which files were checked is only written down where some time has passed, so not in every run. */
    if (name - path > 8 && !strncmp(name - 8, "/engine/", 8) && strchr(name, '.')) return 0;
    if (path[0] != '/') {
        char link[64];
        if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t size = readlink(link, whole, PATH_MAX - 1);
        if (size < 0) return 0;
        snprintf(whole + size, sizeof whole - size, "/%s", path);
        path = whole;
    }
    return !strncmp(path, prefix, strlen(prefix));
}

static void moment(const char *what, const char *path) {
    char line[PATH_MAX + 64];
    long number = atomic_fetch_add(&count, 1) + 1;
    int size = snprintf(line, sizeof line, "%s\t%s\n", what, path ? path : "");
    syscall(SYS_write, pipe_end, line, size);
    if (number == fatal) syscall(SYS_kill, getpid(), SIGKILL);
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = dlsym(RTLD_NEXT, #name)

static int opened(int file, int counts) {
    if (file >= 0 && file < FILES) watched[file] = counts;
    return file;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, name, const char *, int, ...); \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        int counts = (flags & (O_WRONLY | O_RDWR)) && below(AT_FDCWD, path); \
        if (counts && (flags & (O_CREAT | O_TRUNC))) moment("open", path); \
        return opened(real(path, flags, mode), counts); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(int, name, int, const char *, int, ...); \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        int counts = (flags & (O_WRONLY | O_RDWR)) && below(folder, path); \
        if (counts && (flags & (O_CREAT | O_TRUNC))) moment("open", path); \
        return opened(real(folder, path, flags, mode), counts); \
    }
OPENAT(openat)
OPENAT(openat64)

int close(int file) {
    REAL(int, close, int);
    if (file >= 0 && file < FILES) {
        if (watched[file] && last_written == file) last_written = -1;
        watched[file] = 0;
    }
    return real(file);
}

static void written(int file) {
    if (file >= 0 && file < FILES && watched[file] && atomic_exchange(&last_written, file) != file) moment("write", "");
}

ssize_t write(int file, const void *data, size_t size) {
    REAL(ssize_t, write, int, const void *, size_t);
    written(file);
    return real(file, data, size);
}
ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
    written(file);
    return real(file, data, size, at);
}
ssize_t writev(int file, const struct iovec *parts, int number) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    written(file);
    return real(file, parts, number);
}
int ftruncate64(int file, off64_t size) {
    REAL(int, ftruncate64, int, off64_t);
    if (file >= 0 && file < FILES && watched[file]) moment("cut", "");
    return real(file, size);
}

#define ONE(name, what) \
    int name(const char *path) { \
        REAL(int, name, const char *); \
        if (below(AT_FDCWD, path)) moment(what, path); \
        return real(path); \
    }
ONE(unlink, "delete")
ONE(rmdir, "delete folder")

int unlinkat(int folder, const char *path, int flags) {
    REAL(int, unlinkat, int, const char *, int);
    if (below(folder, path)) moment("delete", path);
    return real(folder, path, flags);
}
int mkdir(const char *path, mode_t mode) {
    REAL(int, mkdir, const char *, mode_t);
    if (below(AT_FDCWD, path) && access(path, F_OK)) moment("make folder", path);
    return real(path, mode);
}

#define TWO(name, what) \
    int name(const char *from, const char *to) { \
        REAL(int, name, const char *, const char *); \
        if (below(AT_FDCWD, to)) moment(what, to); \
        return real(from, to); \
    }
TWO(rename, "rename")
TWO(link, "link")

int renameat(int folder, const char *from, int other, const char *to) {
    REAL(int, renameat, int, const char *, int, const char *);
    if (below(other, to)) moment("rename", to);
    return real(folder, from, other, to);
}
int renameat2(int folder, const char *from, int other, const char *to, unsigned int flags) {
    REAL(int, renameat2, int, const char *, int, const char *, unsigned int);
    if (below(other, to)) moment("rename", to);
    return real(folder, from, other, to, flags);
}
int linkat(int folder, const char *from, int other, const char *to, int flags) {
    REAL(int, linkat, int, const char *, int, const char *, int);
    if (below(other, to)) moment("link", to);
    return real(folder, from, other, to, flags);
}
