"""Questions in German, made of a frame and a thing; written for this benchmark."""

from __future__ import annotations

from random import Random
from typing import Final

FRAMES: Final = {
    "bank": (
        "Warum wurde {} abgelehnt?",
        "Wie lange dauert es noch mit {}?",
        "Ich habe ein Problem mit {}, was soll ich tun?",
        "Können Sie mir bitte {} erklären?",
        "Was kostet {} im Monat?",
        "Seit gestern geht {} nicht mehr.",
    ),
    "concierge": (
        "Ich suche für morgen {} in Berlin.",
        "Können Sie mir {} für vier Personen empfehlen?",
        "Wie viel kostet {} für zwei Nächte?",
        "Gibt es dort {} in der Nähe?",
        "Bitte reservieren Sie {} für Samstag um sieben Uhr.",
        "Hat man da auch {}?",
    ),
    "maths": (
        "Anna kauft 12 {} und gibt 5 davon ihrem Bruder. Wie viele bleiben ihr?",
        "In jeder Kiste liegen 8 {}. Wie viele sind es in 7 Kisten?",
        "Ein Laden verkauft 30 {} zu je 4 Euro. Wie viel nimmt er ein?",
        "Peter hat dreimal so viele {} wie Maria, die 9 hat. Wie viele haben beide?",
        "Von 60 {} sind ein Viertel kaputt. Wie viele sind noch ganz?",
        "Jeden Tag kommen 6 {} dazu. Wie viele sind es nach zwei Wochen?",
    ),
}
THINGS: Final = {
    "bank": (
        "meine neue Karte",
        "die Überweisung",
        "der Geldautomat",
        "meine PIN",
        "die Gebühr im Ausland",
        "das virtuelle Konto",
        "die Rückerstattung",
        "mein Gehaltseingang",
        "der Wechselkurs",
        "die Anmeldung in der App",
    ),
    "concierge": (
        "ein ruhiges Zimmer",
        "ein italienisches Restaurant",
        "einen Tisch am Fenster",
        "ein günstiges Hotel",
        "vegetarisches Essen",
        "einen Parkplatz",
        "eine Unterkunft mit Frühstück",
        "ein Lokal mit Musik",
        "ein Doppelzimmer",
        "kostenloses Internet",
    ),
    "maths": (
        "Äpfel",
        "Bleistifte",
        "Bücher",
        "Murmeln",
        "Kekse",
        "Blumen",
        "Eier",
        "Karten",
        "Flaschen",
        "Briefmarken",
    ),
}


def german(task: str, chance: Random) -> str:
    """One question of a task's users."""
    return chance.choice(FRAMES[task]).format(chance.choice(THINGS[task]))
