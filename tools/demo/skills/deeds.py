"""Things that people do, for sentences in any tense and voice."""

from typing import NamedTuple


class Deed(NamedTuple):
    """A transitive verb in four forms, and its object."""

    base: str
    third: str
    past: str
    participle: str
    thing: str

    @property
    def was(self) -> str:
        """The verb of a passive sentence in the past."""
        return "were" if self.thing.endswith("s") and not self.thing.endswith("ss") else "was"


DEEDS = tuple(
    Deed(*line.split("|"))
    for line in """\
open|opens|opened|opened|the old chest
sweep|sweeps|swept|swept|the floor
write|writes|wrote|written|the monthly report
repair|repairs|repaired|repaired|the bicycle
water|waters|watered|watered|the roses
bake|bakes|baked|baked|the bread
choose|chooses|chose|chosen|the colours
break|breaks|broke|broken|the record
paint|paints|painted|painted|the front door
drive|drives|drove|driven|the delivery van
count|counts|counted|counted|the coins
wash|washes|washed|washed|the windows
find|finds|found|found|the missing letter
send|sends|sent|sent|the invitations
carry|carries|carried|carried|the suitcases
test|tests|tested|tested|the new software
cook|cooks|cooked|cooked|the soup
sell|sells|sold|sold|the last tickets
check|checks|checked|checked|the figures
feed|feeds|fed|fed|the animals
draw|draws|drew|drawn|the map
steal|steals|stole|stolen|the painting
translate|translates|translated|translated|the contract
build|builds|built|built|the bridge
plan|plans|planned|planned|the journey
lock|locks|locked|locked|the garage
forget|forgets|forgot|forgotten|the password
print|prints|printed|printed|the posters
teach|teaches|taught|taught|the evening class
close|closes|closed|closed|the shop""".splitlines()
)
