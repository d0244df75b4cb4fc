"""Short messages and notices from which some fields are to be read out as JSON."""

import json
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from tools.demo.skills.row import Row, compose, fill
from tools.demo.skills.words import (
    CITIES,
    PEOPLE,
    SURNAMES,
    TOWNS,
    WEEKDAYS,
    a,
    clock,
    count,
    date,
    full_name,
    listed,
    money,
)


class _Notice(NamedTuple):
    text: str
    fields: dict[str, str | int]


_ASKS = (
    "Extract {fields} from the text as JSON.",
    "Return a JSON object with the keys {keys}.",
    "Read the message and fill in this JSON: {blank}",
    "Pull out {fields}. Answer with JSON only.",
    "From the text below, collect {fields} into a JSON object.\n\n{text}",
    "Turn this into structured data with the keys {keys}.\n\n{text}",
    "{text}\n\nGive me {fields} as JSON.",
    "Parse the note. Keys: {keys}. If something is not mentioned, use null.",
    "What does the text say about {fields}? Reply in JSON.",
    "Information extraction task. Output: JSON with {keys}.\nText: {text}",
    "I need to put this into a database. Please extract {fields} as a JSON record.\n\n{text}",
    "Find {fields} in the text and write them as JSON; null where the text is silent.",
    "Complete the record {blank} from the text.",
    "Convert to JSON ({keys}): {text}",
    "What are {fields}? Respond with a JSON object that uses the keys {keys}.",
    "Please scan the message and report {fields} in JSON.\n\n{text}",
    "Fill the template with values copied from the text.\n{blank}",
)


def _order(rng: Random) -> _Notice:
    name, number = full_name(rng), f"{rng.choice('ABKRT')}-{rng.randint(10_000, 99_999)}"
    item, amount = rng.choice(("desk lamp", "wool blanket", "tea set", "garden chair", "backpack")), rng.randint(1, 6)
    total, day = money(rng.randrange(1500, 30_000, 5)), date(rng)
    text = rng.choice(
        (
            f"Dear {name}, thank you for your order {number}. We have received your payment of {total} for "
            f"{count(amount, item)}, and the parcel should reach you by {day}.",
            f"Order {number} was placed by {name} for {count(amount, item)}. The customer paid {total}. Promised "
            f"delivery date: {day}. Please pack it with care.",
        )
    )
    return _Notice(
        text, {"customer": name, "order_number": number, "quantity": amount, "total": total, "delivery_date": day}
    )


def _event(rng: Random) -> _Notice:
    what = rng.choice(("pottery workshop", "chess tournament", "book fair", "jazz evening", "beach clean-up", "choir"))
    place = rng.choice(("Town Hall", "Riverside Park", "the Old Mill", "St Mary's School", "the Harbour Café"))
    town, day, time, fee = (
        rng.choice(TOWNS),
        f"{rng.choice(WEEKDAYS)} {date(rng)}",
        clock(rng),
        money(rng.randint(3, 40) * 100),
    )
    what = what if what != "choir" else "choir rehearsal"
    text = rng.choice(
        (
            f"Join us for {a(what)} in {town}! We meet at {place} on {day} at {time}. Tickets cost {fee} at the door, "
            "and children come in free.",
            f"On {day} there will be {a(what)} at {place}, {town}. It begins at {time}. The entrance fee of {fee} "
            "includes a drink.",
        )
    )
    return _Notice(text, {"event": what, "venue": place, "town": town, "date": day, "time": time, "fee": fee})


def _contact(rng: Random) -> _Notice:
    first, last = rng.choice(PEOPLE).name, rng.choice(SURNAMES)
    firm = f"{rng.choice(SURNAMES)} {rng.choice(('Logistics', 'Design', 'Software', 'Foods', 'Consulting'))}"
    job = rng.choice(("sales manager", "architect", "head of support", "project lead", "accountant", "data engineer"))
    mail = f"{first.lower()}.{last.lower()}@example.{rng.choice(('com', 'org', 'net'))}"
    phone, city = f"555-{rng.randint(1000, 9999)}", rng.choice(CITIES)
    text = rng.choice(
        (
            f"Hello, my name is {first} {last} and I am the new {job} at {firm} in {city}. You can reach me at {mail} "
            f"or call {phone} on weekdays.",
            f"It was good to meet you at the fair.\n{first} {last}\n{job}, {firm}\n{city}\n{mail}\n{phone}",
            f"Please add to the address book: {first} {last} ({firm}, {city}) works as {a(job)}. Phone {phone}, "
            f"e-mail {mail}.",
        )
    )
    fields: dict[str, str | int] = {"name": f"{first} {last}", "company": firm, "position": job}
    return _Notice(text, {**fields, "email": mail, "phone": phone, "city": city})


def _flight(rng: Random) -> _Notice:
    start, end = rng.sample(CITIES, 2)
    name, number, gate = (
        full_name(rng),
        f"{rng.choice(('QX', 'ZB', 'NR'))}{rng.randint(100, 999)}",
        f"{rng.choice('ABCD')}{rng.randint(1, 40)}",
    )
    day, time, seat = date(rng), clock(rng, 6, 22), f"{rng.randint(1, 34)}{rng.choice('ACDF')}"
    text = rng.choice(
        (
            f"Passenger {name} flies from {start} to {end} on {day}. Flight {number} leaves at {time} from gate "
            f"{gate}; "
            f"the seat is {seat}.",
            f"Hi {name}, check-in for your trip to {end} is open. Flight {number} departs {start} on {day} at {time}, "
            f"gate {gate}. You are in seat {seat}.",
        )
    )
    fields: dict[str, str | int] = {"passenger": name, "flight": number, "origin": start, "destination": end}
    return _Notice(text, {**fields, "date": day, "departure": time, "gate": gate, "seat": seat})


def _job(rng: Random) -> _Notice:
    role = rng.choice(("pastry chef", "bus driver", "translator", "nurse", "gardener", "electrician", "librarian"))
    firm, city = f"{rng.choice(SURNAMES)} & {rng.choice(SURNAMES)}", rng.choice(CITIES)
    hours, pay, day, years = rng.randint(16, 40), f"${rng.randint(18, 55)}", date(rng), rng.randint(2, 8)
    text = rng.choice(
        (
            f"{firm} in {city} is looking for {a(role)} for {hours} hours a week. You bring at least {years} years of "
            f"experience; we pay {pay} an hour. Apply before {day}.",
            f"Vacancy: {role}, {city}. {hours} hours weekly at {pay} per hour. Applicants need {years} years in the "
            f"trade. Send your letter to {firm} by {day}.",
        )
    )
    fields: dict[str, str | int] = {"role": role, "employer": firm, "city": city, "hours_per_week": hours}
    return _Notice(text, {**fields, "hourly_pay": pay, "years_of_experience": years, "deadline": day})


def _flat(rng: Random) -> _Notice:
    rooms, size, floor = (
        rng.randint(2, 6),
        rng.randint(35, 140),
        rng.choice(("ground", "first", "second", "third", "top")),
    )
    street = f"{rng.randint(2, 180)} {rng.choice(('Mill', 'Church', 'Garden', 'Station', 'Lime'))} Street"
    town, rent, pets = rng.choice(TOWNS), f"${rng.randrange(600, 2600, 25)}", rng.choice(("allowed", "not allowed"))
    text = rng.choice(
        (
            f"To let: {rooms} rooms, {size} m², {floor} floor, {street}, {town}. Monthly rent {rent} without heating. "
            f"Pets {pets}.",
            f"We rent out our bright flat at {street} in {town}. It has {rooms} rooms and {size} m² on the {floor} "
            f"floor. The rent is {rent} a month, and pets are {pets}.",
        )
    )
    fields: dict[str, str | int] = {"address": street, "town": town, "rooms": rooms, "size_m2": size}
    return _Notice(text, {**fields, "floor": floor, "rent": rent, "pets": pets})


def _meeting(rng: Random) -> _Notice:
    names = [person.name for person in rng.sample(PEOPLE, 3)]
    topic = rng.choice(
        ("the spring budget", "the new website", "holiday cover", "the warehouse move", "customer feedback")
    )
    day, time, room, minutes = (
        rng.choice(WEEKDAYS),
        clock(rng, 8, 17),
        f"{rng.choice('BEGK')}{rng.randint(100, 480)}",
        rng.choice((30, 45, 60, 90)),
    )
    text = rng.choice(
        (
            f"{names[0]} has called a meeting about {topic} on {day} at {time} in room {room}. {names[1]} will take "
            f"the minutes, and {names[2]} joins by phone. Plan for {minutes} minutes.",
            f"Hi {names[1]}, can you keep the minutes on {day}? We talk about {topic}, {time}, room {room}, about "
            f"{minutes} minutes. {names[2]} cannot travel and will phone in. Thanks, {names[0]}",
        )
    )
    fields: dict[str, str | int] = {"organiser": names[0], "minute_taker": names[1], "remote_guest": names[2]}
    return _Notice(
        text, {**fields, "topic": topic, "day": day, "time": time, "room": room, "duration_minutes": minutes}
    )


def _lost(rng: Random) -> _Notice:
    animal, colour = (
        rng.choice(("cat", "dog", "parrot", "rabbit", "tortoise")),
        rng.choice(("grey", "brown", "white", "black")),
    )
    pet, mark = (
        rng.choice(("Biscuit", "Pepper", "Momo", "Luna", "Rusty", "Olive")),
        rng.choice(("a blue collar", "a bent ear", "a limp")),
    )
    owner, phone, day = full_name(rng), f"555-{rng.randint(1000, 9999)}", rng.choice(WEEKDAYS)
    place = f"{rng.choice(('Mill', 'Church', 'Garden', 'Station'))} Lane, {rng.choice(TOWNS)}"
    text = rng.choice(
        (
            f"Missing since {day}: our {colour} {animal} {pet}, last seen near {place}. {pet} has {mark}. Please call "
            f"{owner} on {phone}, even late at night.",
            f"Have you seen {pet}? The {colour} {animal} with {mark} ran off on {day} around {place}. {owner}, "
            f"telephone {phone}, offers a reward.",
        )
    )
    fields: dict[str, str | int] = {"pet_name": pet, "animal": animal, "colour": colour, "mark": mark}
    return _Notice(text, {**fields, "last_seen": place, "day": day, "owner": owner, "phone": phone})


_KINDS: tuple[Callable[[Random], _Notice], ...] = (_order, _event, _contact, _flight, _job, _flat, _meeting, _lost)
_ABSENT = ("website", "postcode", "fax", "discount_code", "language")


def generate(rng: Random) -> Row:
    """Draw a message and the fields to read from it.

    :param rng: the source of chance.
    """
    notice = rng.choice(_KINDS)(rng)
    keys = rng.sample(list(notice.fields), rng.randint(2, min(5, len(notice.fields))))
    ask = rng.choice(_ASKS)
    record: dict[str, str | int | None] = {key: notice.fields[key] for key in keys}
    if "null" in ask:
        record[rng.choice(_ABSENT)] = None
    names = {
        "keys": listed(f'"{key}"' for key in record),
        "fields": listed(f"the {key.replace('_', ' ')}" for key in record),
        "blank": json.dumps(dict.fromkeys(record, "...")),
    }
    indent = 2 if rng.random() < 0.4 else None
    return compose(fill(ask, **names), notice.text, json.dumps(record, ensure_ascii=False, indent=indent))
