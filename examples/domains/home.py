"""Home devices: lights, heating, music, alarms. No adapter is trained on these."""

from typing import Final

from examples.grammar import Grammar, Intent

GRAMMAR: Final = Grammar(
    slots={
        "room": ("kitchen", "bedroom", "hall", "garage", "bathroom", "cellar", "nursery", "attic"),
        "level": ("ten", "twenty", "thirty", "fifty", "seventy", "ninety"),
        "degrees": ("seventeen", "eighteen", "nineteen", "twenty one", "twenty three"),
        "colour": ("red", "warm white", "blue", "soft yellow", "green", "purple"),
        "song": (
            "jazz",
            "whale songs",
            "the radio",
            "piano music",
            "old rock songs",
            "my playlist",
        ),
        "clock": ("five", "six", "half past six", "seven", "ten", "eleven"),
        "device": ("vacuum robot", "washing machine", "coffee machine", "oven", "fan", "heater"),
        "sensor": ("smoke sensor", "door sensor", "water sensor", "motion sensor", "camera"),
        "blind": ("blinds", "curtains", "shutters", "windows"),
        "minutes": ("three", "five", "ten", "fifteen", "forty"),
        "item": ("milk", "batteries", "light bulbs", "cat food", "soap"),
        "weekday": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday"),
    },
    intents=(
        Intent(
            asks=(
                "[turn|switch] the {room} lights to {colour}[ at {clock}|]",
                "dim the [lamp|lights] in the {room} to {level} percent",
                "make the {room} {colour}[ and dim it to {level} percent|]",
            ),
            answers=(
                "The {room} lights are {colour} now.",
                "Okay, the {room} is dimmed to {level} percent.",
            ),
        ),
        Intent(
            asks=(
                "set the [thermostat|heating] in the {room} to {degrees} degrees[ at {clock}|]",
                "it is too [cold|warm] in the {room}[, make it {degrees} degrees|]",
                "[what is|how warm is] the temperature [in|of] the {room}[ at {clock}|]?",
            ),
            answers=(
                "Heating the {room} to {degrees} degrees.",
                "The thermostat in the {room} reads {degrees} degrees.",
            ),
        ),
        Intent(
            asks=(
                "play {song} in the {room}[ at volume {level}|]",
                "[turn up|turn down|mute] {song} in the {room}",
                "[stop|pause] {song} [at {clock}|in {minutes} minutes][ in the {room}|]",
            ),
            answers=(
                "Playing {song} on the {room} speaker.",
                "The {room} speaker is at volume {level} now.",
            ),
        ),
        Intent(
            asks=(
                "wake me [up |]at {clock} [on {weekday}|with {song}]",
                "set [a|an egg] timer for {minutes} minutes[ in the {room}| for the {device}|]",
                "remind me to [buy|order] {item} [on {weekday}|at {clock}]",
            ),
            answers=(
                "Your alarm rings at {clock} with {song}.",
                "Timer started: {minutes} minutes. I will beep in the {room}.",
                "I put {item} on the list for {weekday}.",
            ),
        ),
        Intent(
            asks=(
                "start the {device} [in {minutes} minutes|at {clock}|in the {room}]",
                "is the {device} in the {room} [still on|done][ yet|]?",
                "unplug the {device} [when nobody is in|in] the {room}[ after {clock}|]",
            ),
            answers=(
                "The {device} starts in {minutes} minutes.",
                "The {device} in the {room} is off.",
            ),
        ),
        Intent(
            asks=(
                "[open|close|lower] the {blind} in the {room} [at {clock}|to {level} percent|]",
                "keep the {room} {blind} [half open|shut] [until {clock}|on {weekday}]",
                "why are the {blind} [open|stuck] in the {room}[ since {weekday}|]?",
            ),
            answers=(
                "The {blind} in the {room} are moving.",
                "A gust of wind stopped the {blind} in the {room}.",
            ),
        ),
        Intent(
            asks=(
                "the {sensor} in the {room} [beeps|blinks|is offline][ since {weekday}|]",
                "[arm|disarm] the {sensor} [in|near] the {room}[ at {clock}|]",
                "replace the battery of the {room} {sensor} [on {weekday}|and test it]",
            ),
            answers=(
                "The {sensor} in the {room} has a weak battery.",
                "The {room} {sensor} is armed until {clock}.",
            ),
        ),
    ),
)
