"""The facts that the questions are made from."""

from typing import NamedTuple


class Country(NamedTuple):
    """A country with its capital, continent and currency."""

    name: str
    capital: str
    continent: str
    currency: str


class Element(NamedTuple):
    """A chemical element."""

    name: str
    symbol: str
    number: int


class Planet(NamedTuple):
    """A planet: its place counted from the Sun, its kind, and a clause on what it is known for."""

    name: str
    place: str
    kind: str
    fame: str


class Animal(NamedTuple):
    """An animal: its class, its main food, and what its young is called."""

    name: str
    group: str
    food: str
    young: str


class Book(NamedTuple):
    """A book with its author and the year it first came out."""

    title: str
    author: str
    year: str


class River(NamedTuple):
    """A river, a city on it, and where it ends."""

    name: str
    city: str
    mouth: str


class Invention(NamedTuple):
    """A deed of science or discovery, as a verb phrase in the past tense."""

    who: str
    deed: str
    year: str


def _rows(table: str) -> list[list[str]]:
    return [line.split("|") for line in table.strip().splitlines()]


COUNTRIES = tuple(
    Country(*row)
    for row in _rows("""
France|Paris|Europe|euro
Germany|Berlin|Europe|euro
Spain|Madrid|Europe|euro
Italy|Rome|Europe|euro
Portugal|Lisbon|Europe|euro
Austria|Vienna|Europe|euro
Greece|Athens|Europe|euro
Ireland|Dublin|Europe|euro
Finland|Helsinki|Europe|euro
Belgium|Brussels|Europe|euro
the Netherlands|Amsterdam|Europe|euro
Slovenia|Ljubljana|Europe|euro
Sweden|Stockholm|Europe|Swedish krona
Norway|Oslo|Europe|Norwegian krone
Denmark|Copenhagen|Europe|Danish krone
Iceland|Reykjavik|Europe|Icelandic króna
Poland|Warsaw|Europe|złoty
Hungary|Budapest|Europe|forint
Romania|Bucharest|Europe|Romanian leu
Switzerland|Bern|Europe|Swiss franc
Ukraine|Kyiv|Europe|hryvnia
Albania|Tirana|Europe|lek
Serbia|Belgrade|Europe|Serbian dinar
Japan|Tokyo|Asia|yen
China|Beijing|Asia|renminbi
India|New Delhi|Asia|Indian rupee
Thailand|Bangkok|Asia|baht
Vietnam|Hanoi|Asia|đồng
Mongolia|Ulaanbaatar|Asia|tögrög
Nepal|Kathmandu|Asia|Nepalese rupee
South Korea|Seoul|Asia|won
the Philippines|Manila|Asia|Philippine peso
Jordan|Amman|Asia|Jordanian dinar
Pakistan|Islamabad|Asia|Pakistani rupee
Bangladesh|Dhaka|Asia|taka
Iran|Tehran|Asia|Iranian rial
Oman|Muscat|Asia|Omani rial
Kenya|Nairobi|Africa|Kenyan shilling
Ethiopia|Addis Ababa|Africa|birr
Ghana|Accra|Africa|cedi
Nigeria|Abuja|Africa|naira
Morocco|Rabat|Africa|Moroccan dirham
Tunisia|Tunis|Africa|Tunisian dinar
Senegal|Dakar|Africa|CFA franc
Uganda|Kampala|Africa|Ugandan shilling
Zambia|Lusaka|Africa|Zambian kwacha
Namibia|Windhoek|Africa|Namibian dollar
Madagascar|Antananarivo|Africa|ariary
Canada|Ottawa|North America|Canadian dollar
Mexico|Mexico City|North America|Mexican peso
Cuba|Havana|North America|Cuban peso
Jamaica|Kingston|North America|Jamaican dollar
Costa Rica|San José|North America|colón
Guatemala|Guatemala City|North America|quetzal
Brazil|Brasília|South America|real
Argentina|Buenos Aires|South America|Argentine peso
Chile|Santiago|South America|Chilean peso
Peru|Lima|South America|sol
Colombia|Bogotá|South America|Colombian peso
Uruguay|Montevideo|South America|Uruguayan peso
Paraguay|Asunción|South America|guaraní
Australia|Canberra|Oceania|Australian dollar
New Zealand|Wellington|Oceania|New Zealand dollar
Fiji|Suva|Oceania|Fijian dollar
""")
)

ELEMENTS = tuple(
    Element(name, symbol, int(number))
    for name, symbol, number in _rows("""
hydrogen|H|1
helium|He|2
lithium|Li|3
beryllium|Be|4
boron|B|5
carbon|C|6
nitrogen|N|7
oxygen|O|8
fluorine|F|9
neon|Ne|10
sodium|Na|11
magnesium|Mg|12
aluminium|Al|13
silicon|Si|14
phosphorus|P|15
sulphur|S|16
chlorine|Cl|17
argon|Ar|18
potassium|K|19
calcium|Ca|20
titanium|Ti|22
chromium|Cr|24
manganese|Mn|25
iron|Fe|26
cobalt|Co|27
nickel|Ni|28
copper|Cu|29
zinc|Zn|30
bromine|Br|35
krypton|Kr|36
silver|Ag|47
tin|Sn|50
iodine|I|53
xenon|Xe|54
tungsten|W|74
platinum|Pt|78
gold|Au|79
mercury|Hg|80
lead|Pb|82
uranium|U|92
""")
)

PLANETS = tuple(
    Planet(*row)
    for row in _rows("""
Mercury|first|rocky planet|it is the smallest of the eight
Venus|second|rocky planet|it has the hottest surface of all
Earth|third|rocky planet|it is the only one known to bear life
Mars|fourth|rocky planet|it owes its red colour to iron oxide
Jupiter|fifth|gas giant|it is the largest of all
Saturn|sixth|gas giant|it is famous for its bright rings
Uranus|seventh|ice giant|it lies on its side as it goes round the Sun
Neptune|eighth|ice giant|it is the farthest of the eight
""")
)

ANIMALS = tuple(
    Animal(*row)
    for row in _rows("""
kangaroo|mammal|grass|joey
red fox|mammal|small animals and fruit|kit
blue whale|mammal|krill|calf
lion|mammal|large grazing animals|cub
elephant|mammal|grass, leaves and bark|calf
horse|mammal|grass|foal
goat|mammal|leaves and grass|kid
hare|mammal|grass and herbs|leveret
roe deer|mammal|leaves, buds and herbs|fawn
grey seal|mammal|fish|pup
koala|mammal|eucalyptus leaves|joey
otter|mammal|fish|pup
giraffe|mammal|acacia leaves|calf
polar bear|mammal|seals|cub
giant panda|mammal|bamboo|cub
barn owl|bird|mice and voles|owlet
golden eagle|bird|small mammals and birds|eaglet
mute swan|bird|water plants|cygnet
mallard duck|bird|seeds, plants and small water animals|duckling
greylag goose|bird|grass|gosling
emperor penguin|bird|fish, squid and krill|chick
ostrich|bird|plants and seeds|chick
hummingbird|bird|nectar and tiny insects|chick
Nile crocodile|reptile|fish and mammals|hatchling
green sea turtle|reptile|seagrass and algae|hatchling
king cobra|reptile|other snakes|hatchling
marine iguana|reptile|seaweed|hatchling
common frog|amphibian|insects and worms|tadpole
common toad|amphibian|insects, slugs and worms|tadpole
honey bee|insect|nectar and pollen|larva
monarch butterfly|insect|nectar|caterpillar
ladybird|insect|aphids|larva
""")
)

BOOKS = tuple(
    Book(*row)
    for row in _rows("""
Pride and Prejudice|Jane Austen|1813
Frankenstein|Mary Shelley|1818
Jane Eyre|Charlotte Brontë|1847
Wuthering Heights|Emily Brontë|1847
Moby-Dick|Herman Melville|1851
Les Misérables|Victor Hugo|1862
Alice's Adventures in Wonderland|Lewis Carroll|1865
Little Women|Louisa May Alcott|1868
Treasure Island|Robert Louis Stevenson|1883
Dracula|Bram Stoker|1897
Ulysses|James Joyce|1922
The Great Gatsby|F. Scott Fitzgerald|1925
Mrs Dalloway|Virginia Woolf|1925
Brave New World|Aldous Huxley|1932
The Hobbit|J. R. R. Tolkien|1937
The Little Prince|Antoine de Saint-Exupéry|1943
Animal Farm|George Orwell|1945
Pippi Longstocking|Astrid Lindgren|1945
Things Fall Apart|Chinua Achebe|1958
To Kill a Mockingbird|Harper Lee|1960
Dune|Frank Herbert|1965
One Hundred Years of Solitude|Gabriel García Márquez|1967
The House of the Spirits|Isabel Allende|1982
Beloved|Toni Morrison|1987
""")
)

RIVERS = tuple(
    River(*row)
    for row in _rows("""
Nile|Cairo|Mediterranean Sea
Danube|Vienna|Black Sea
Rhine|Cologne|North Sea
Elbe|Dresden|North Sea
Seine|Paris|English Channel
Thames|London|North Sea
Tiber|Rome|Tyrrhenian Sea
Tagus|Toledo|Atlantic Ocean
Vistula|Warsaw|Baltic Sea
Volga|Kazan|Caspian Sea
Mississippi|New Orleans|Gulf of Mexico
Amazon|Manaus|Atlantic Ocean
Mekong|Phnom Penh|South China Sea
Yangtze|Wuhan|East China Sea
Loire|Nantes|Atlantic Ocean
Guadalquivir|Seville|Atlantic Ocean
Dnieper|Kyiv|Black Sea
""")
)

INVENTIONS = tuple(
    Invention(*row)
    for row in _rows("""
Alexander Fleming|discovered penicillin|1928
Alexander Graham Bell|patented the telephone|1876
Wilhelm Röntgen|discovered X-rays|1895
Dmitri Mendeleev|published the periodic table|1869
Yuri Gagarin|became the first human in space|1961
Valentina Tereshkova|became the first woman in space|1963
Neil Armstrong|became the first person to walk on the Moon|1969
Amelia Earhart|became the first woman to fly alone across the Atlantic|1932
Roald Amundsen|led the first expedition to reach the South Pole|1911
Tim Berners-Lee|proposed the World Wide Web|1989
Alfred Nobel|patented dynamite|1867
Charles Darwin|published "On the Origin of Species"|1859
Clyde Tombaugh|discovered Pluto|1930
William Herschel|discovered Uranus|1781
Howard Carter|found the tomb of Tutankhamun|1922
Karl Benz|patented a motor car with a petrol engine|1886
Edward Jenner|gave the first vaccination against smallpox|1796
Alessandro Volta|announced the first electric battery|1800
Junko Tabei|became the first woman to climb Mount Everest|1975
""")
)
