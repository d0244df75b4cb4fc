"""The functions that a request may call, and wishes that need them."""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from tools.demo.skills.words import CITIES, PEOPLE, TOWNS, WEEKDAYS, clock, date, full_name

Value = str | int


class Tool(NamedTuple):
    """A function on offer: what it does, its parameters with their values' makers, and wishes that need it."""

    purpose: str
    parameters: dict[str, Callable[[Random], Value]]
    wishes: tuple[str, ...]


def _of(*values: Value) -> Callable[[Random], Value]:
    return lambda rng: rng.choice(values)


def _between(low: int, high: int) -> Callable[[Random], Value]:
    return lambda rng: rng.randint(low, high)


def _city(rng: Random) -> str:
    return rng.choice(CITIES)


def _town(rng: Random) -> str:
    return rng.choice(TOWNS)


def _person(rng: Random) -> str:
    return rng.choice(PEOPLE).name


_DAY = _of(*WEEKDAYS)
TOOLS = {
    "get_weather": Tool(
        "Weather forecast for a city",
        {"city": _city, "day": _DAY, "unit": _of("celsius", "fahrenheit")},
        (
            "Will I need a coat in {city} on {day}? Temperatures in {unit}, please.",
            "Give me the {day} forecast for {city} in degrees {unit}.",
        ),
    ),
    "convert_currency": Tool(
        "Convert an amount of money",
        {"amount": _between(20, 9000), "source": _of("EUR", "GBP", "CHF"), "target": _of("USD", "JPY", "SEK", "CAD")},
        ("How much is {amount} {source} in {target}?", "I have {amount} {source} left. What would I get in {target}?"),
    ),
    "book_table": Tool(
        "Reserve a table at a restaurant",
        {
            "restaurant": _of("Blue Olive", "Casa Verde", "The Copper Pot", "Saffron House"),
            "guests": _between(2, 12),
            "day": _DAY,
            "time": clock,
        },
        (
            "Please get us a table for {guests} at {restaurant} on {day}, {time}.",
            "There will be {guests} of us on {day}. Reserve at {restaurant} for {time}.",
        ),
    ),
    "send_email": Tool(
        "Send an e-mail",
        {
            "recipient": _person,
            "subject": _of("Budget", "Holiday plans", "Contract", "Train times", "Invoice 88"),
            "body": _of(
                "I will be ten minutes late", "Please call me back", "The files are ready", "See you at the station"
            ),
        },
        (
            'Write to {recipient} with the subject "{subject}": {body}.',
            'Mail {recipient} and say "{body}". Subject line: {subject}.',
        ),
    ),
    "create_reminder": Tool(
        "Set a reminder",
        {
            "text": _of("water the plants", "pay the rent", "call the dentist", "buy stamps", "back up the laptop"),
            "day": _DAY,
            "time": clock,
        },
        ("Remind me on {day} at {time} to {text}.", "Don't let me forget to {text} on {day}! {time} would be best."),
    ),
    "search_trains": Tool(
        "Find train connections",
        {"origin": _city, "destination": _town, "day": _DAY, "passengers": _between(1, 6)},
        (
            "Which trains go from {origin} to {destination} on {day}? Number of travellers: {passengers}.",
            "Trip from {origin} to {destination}, {day}, passengers: {passengers}. Show me the trains.",
        ),
    ),
    "play_music": Tool(
        "Play music in a room",
        {
            "genre": _of("jazz", "salsa", "ambient", "baroque", "blues"),
            "room": _of("kitchen", "office", "bedroom", "garage"),
            "volume": _between(5, 95),
        },
        ("Put on some {genre} in the {room}, volume {volume}.", "I'd love {genre} in the {room} at {volume} percent."),
    ),
    "set_thermostat": Tool(
        "Set the temperature of a room",
        {
            "room": _of("living room", "bathroom", "nursery", "studio", "hall"),
            "degrees": _between(15, 25),
            "until": clock,
        },
        (
            "Keep the {room} at {degrees} degrees until {until}.",
            "It's chilly: {degrees} degrees in the {room}, until {until}.",
        ),
    ),
    "track_parcel": Tool(
        "Look up where a parcel is",
        {
            "number": lambda rng: f"PK{rng.randint(100_000, 999_999)}",
            "carrier": _of("FastShip", "Postline", "Norcargo"),
        },
        ("Where is my {carrier} parcel {number}?", "{carrier} should have delivered {number} by now. Can you check?"),
    ),
    "add_contact": Tool(
        "Add a person to the address book",
        {
            "name": full_name,
            "phone": lambda rng: f"555-{rng.randint(1000, 9999)}",
            "group": _of("family", "work", "club"),
        },
        ("Save {name}, {phone}, under {group}.", "New number for the {group} list: {name} can be reached on {phone}."),
    ),
    "translate_text": Tool(
        "Translate a text",
        {
            "text": _of("Good morning", "Where is the exit?", "Thank you", "Two coffees, please"),
            "language": _of("French", "Polish", "Korean", "Swahili", "Finnish"),
        },
        ('What is "{text}" in {language}?', 'I want to say "{text}" to my {language} neighbour.'),
    ),
    "find_recipes": Tool(
        "Search recipes by ingredient",
        {
            "ingredient": _of("lentils", "salmon", "pumpkin", "tofu", "rice", "spinach"),
            "max_minutes": _between(10, 90),
            "servings": _between(1, 8),
        },
        (
            "I have {ingredient} at home and {max_minutes} minutes. Any ideas for a meal? Portions: {servings}.",
            "Dinner ideas with {ingredient}, at most {max_minutes} minutes, servings: {servings}.",
        ),
    ),
    "get_stock_level": Tool(
        "Number of pieces of an article in a warehouse",
        {"article": lambda rng: f"{rng.choice('ABCX')}{rng.randint(100, 999)}", "warehouse": _town},
        ("How many {article} are left in {warehouse}?", "A client wants {article}. Does {warehouse} still have any?"),
    ),
    "schedule_meeting": Tool(
        "Put a meeting into the calendar",
        {"with_person": _person, "day": _DAY, "time": clock, "minutes": _of(15, 30, 45, 60, 90)},
        (
            "Set up {minutes} minutes with {with_person} on {day} at {time}.",
            "{with_person} and I need to talk: {day}, {time}, {minutes} minutes.",
        ),
    ),
    "book_hotel": Tool(
        "Book a hotel room",
        {"city": _city, "arrival": date, "nights": _between(2, 14), "room_type": _of("single", "double", "family")},
        (
            "I need a {room_type} room in {city} from {arrival} for {nights} nights.",
            "We arrive in {city} on {arrival} and stay {nights} nights. A {room_type} room, please.",
        ),
    ),
    "log_workout": Tool(
        "Record a sports session",
        {
            "sport": _of("rowing", "swimming", "running", "climbing", "cycling"),
            "minutes": _between(10, 150),
            "day": _DAY,
        },
        ("Note down {minutes} minutes of {sport} for {day}.", "I spent {minutes} minutes {sport} on {day}. Log it."),
    ),
}
