"""Bank support: cards, transfers, fees, accounts."""

# ruff: noqa: E501 - a template reads best on one line

from typing import Final

from examples.grammar import Grammar, Intent

GRAMMAR: Final = Grammar(
    slots={
        "card": ("debit card", "credit card", "virtual card", "travel card", "joint card"),
        "account": ("savings account", "current account", "joint account", "business account"),
        "amount": ("15", "20", "35", "40", "60", "75", "90", "120", "150", "240", "300", "500"),
        "shop": (
            "Northgate Books",
            "Blue Kettle Cafe",
            "Harbour Taxi",
            "Green Leaf Market",
            "Star Cinema",
            "Miller Shoes",
            "City Gym",
            "Oak Pharmacy",
            "Sunny Toys",
            "Rapid Fuel",
        ),
        "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
        "wait": ("two", "three", "four", "five"),
        "currency": ("dollars", "pounds", "yen", "francs", "crowns"),
        "thing": ("address", "phone number", "email address", "last name"),
        "person": ("sister", "landlord", "son", "neighbour", "employer"),
    },
    intents=(
        Intent(
            asks=(
                "[hi, |hello, |]my {card} [has not arrived|still is not here|never came][ yet|], I ordered it on {day}",
                "where is the {card} that I [ordered|asked for|requested] on {day}?",
                "[how long does|when will] the {card} I ordered {day} [take to arrive|get to me|show up]?",
            ),
            answers=(
                "I am sorry your {card} is late. Cards ordered on {day} arrive within {wait} working days.",
                "Your {card} was posted after {day}. Please allow {wait} working days for it to arrive.",
                "If the {card} from {day} is not here in {wait} working days, we will send a new one.",
            ),
        ),
        Intent(
            asks=(
                "[please help, |]I lost my {card} [at|near|somewhere around] {shop}",
                "my {card} was stolen [on {day}|last {day}][ near {shop}|], what [should|can|do] I do?",
                "[I think |]somebody took my {card} [on {day}|while I was at {shop}]",
            ),
            answers=(
                "I have frozen your {card}. A new card will be posted [today|tomorrow morning].",
                "Your {card} is blocked now. No payment can be made with it, and a new one is on its way.",
                "Please freeze the {card} in the app under Cards. We will replace it free of charge.",
            ),
        ),
        Intent(
            asks=(
                "[why is there|I see|there is] a payment of {amount} euros to {shop} that I do not [know|recognise]",
                "I [never|did not] [paid|pay] {amount} euros to {shop}[, what is this|, please check it|]",
                "{shop} [took|charged me|withdrew] {amount} euros [on {day}|without asking|and I was not there]",
            ),
            answers=(
                "I have opened a dispute for the {amount} euros at {shop}. You will hear from us in {wait} days.",
                "The payment of {amount} euros to {shop} is under review, and your card is frozen until then.",
                "We will return the {amount} euros if {shop} cannot show that you agreed to the payment.",
            ),
        ),
        Intent(
            asks=(
                "{shop} charged me twice[, {amount} euros each time| for {amount} euros|]",
                "[why was I|I was] charged {amount} euros two times [by|at] {shop}[ on {day}|]",
                "there are two [equal|identical] payments of {amount} euros to {shop}",
            ),
            answers=(
                "One of the two payments to {shop} is only a hold. It will disappear within {wait} days.",
                "I have cancelled the second payment of {amount} euros to {shop}.",
                "The second charge by {shop} will be returned to your account within {wait} days.",
            ),
        ),
        Intent(
            asks=(
                "[when does|how long until] a transfer of {amount} euros to my {person} [arrive|get there][?|, I sent it on {day}?]",
                "I sent {amount} euros to my {person} on {day} and it is [still |]not there",
                "the transfer to my {person} [is stuck|is pending|has not arrived][ since {day}|]",
            ),
            answers=(
                "Transfers sent on {day} reach the other bank within {wait} working days.",
                "Your transfer to your {person} is being checked. It should arrive [today|tomorrow|by {day}].",
                "The transfer is on its way. Please ask again if it is not there in {wait} days.",
            ),
        ),
        Intent(
            asks=(
                "[can I|how do I|I want to] cancel [the|my] transfer of {amount} euros to my {person}",
                "I sent {amount} euros to the wrong person on {day}, [can you stop it|please help]",
                "please [stop|recall|cancel] my payment of {amount} euros [to my {person}|from {day}]",
            ),
            answers=(
                "I have asked the other bank to return the {amount} euros. This takes {wait} days.",
                "The payment of {amount} euros is cancelled and the money is back in your account.",
                "A transfer that is already booked cannot be stopped, but we can ask for a return.",
            ),
        ),
        Intent(
            asks=(
                "[why did|how come] you [charge|take] a fee [of {amount} euros |]for [changing|buying] {currency}?",
                "what [exchange rate|rate] do I get for {amount} euros in {currency}[ with my {card}|]?",
                "is there a fee when I [pay|shop] in {currency} with my {card}?",
            ),
            answers=(
                "Paying in {currency} is free on working days. At weekends we add one percent.",
                "We use the bank rate for {currency} at the moment of the payment, without a fee.",
                "For {currency} the rate in the app is the rate you get. There is no extra fee.",
            ),
        ),
        Intent(
            asks=(
                "[how do I|I need to|can I] change my {thing} [for my {account}|on my {account}|]",
                "my {thing} has changed[, what now|, can you update it|] [for the {account}|]",
                "please update the {thing} of my {account}",
            ),
            answers=(
                "You can change your {thing} in the app under Profile. It takes one minute.",
                "To change the {thing} of your account, please send us a photo of your passport.",
                "Thank you. Your new {thing} will be active within {wait} hours.",
            ),
        ),
        Intent(
            asks=(
                "the cash machine [gave me only|kept my {card} and] {amount} euros[ on {day}|]",
                "I [asked for|wanted] {amount} euros [in cash |]but the machine gave me nothing[ on {day}|]",
                "my cash withdrawal of {amount} euros is [pending|shown but I got no money]",
            ),
            answers=(
                "I am sorry about that. The {amount} euros will be returned within {wait} working days.",
                "The machine reports an error. We will credit {amount} euros to your account.",
                "Please keep the receipt. We check the machine and return the {amount} euros.",
            ),
        ),
        Intent(
            asks=(
                "[how do I|I want to|can I] [close|freeze] my {account}[ by {day}|]",
                "[how can I|I would like to] open a {account}[ for my {person}| before {day}|]",
                "what [do I need|papers are needed] to open a {account}[ this {day}|]?",
            ),
            answers=(
                "You can do this in the app under Accounts. Your {account} is ready in {wait} days.",
                "For a {account} we need your passport and a proof of address.",
                "Please move the money out of your {account} first, then press the button under Accounts.",
            ),
        ),
        Intent(
            asks=(
                "my {card} was [declined|refused] at {shop}[ on {day}|]",
                "why does {shop} not accept my {card}[?|, I wanted to pay {amount} euros]",
                "I could not pay {amount} euros [at|in] {shop} with my {card}",
            ),
            answers=(
                "Your {card} has reached its limit. You can raise the limit in the app.",
                "The {card} works again now. Please try the payment at {shop} once more.",
                "{shop} asked for a code and the {card} was locked. I have unlocked it for you.",
            ),
        ),
        Intent(
            asks=(
                "I forgot the [pin|code|passcode] of my {card}",
                "how do I [change|reset|see] the pin of my {card}[ before {day}|]?",
                "the pin [of|for] my {card} [is blocked|does not work][ since {day}|]",
            ),
            answers=(
                "Open the app, choose the {card} and press Show pin. You can change it there too.",
                "I have unblocked the pin of your {card}. Please try again at a cash machine.",
                "A new pin for the {card} will be posted to you within {wait} days.",
            ),
        ),
    ),
)
