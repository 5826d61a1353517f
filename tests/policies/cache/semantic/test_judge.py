"""Labels are given only where two answers clearly say the same, or clearly do not."""

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.cache.semantic.judge import is_same
from policies.cache.semantic.text import analyse

WEATHER = "What's the weather in Cairo on Friday?", "Tell me the weather in Cairo on Saturday"
CAPITAL = "What is the capital of Kenya?", "Kenya's capital?"
LONG = "The parcel leaves the warehouse in the evening, travels overnight by train and reaches the depot before noon."
SAME = [
    (CAPITAL, "Nairobi", "Nairobi."),
    (CAPITAL, "The capital of Kenya is **Nairobi**.", "Nairobi is the capital of Kenya"),
    (CAPITAL, "# Nairobi\n\n* It is *the* `capital`", "> Nairobi\nIt is the **capital**!"),
    (WEATHER, '{"degrees": 30, "sky": "clear"}', '{"sky":"clear","degrees":30}'),
]
DIFFERENT = [
    (WEATHER, "30 degrees", "28 degrees"),
    (CAPITAL, "Nairobi", "Mombasa"),
    (CAPITAL, "Yes, it is.", "No, that is wrong."),
    (CAPITAL, "card_arrival", "lost_card"),
    (WEATHER, '{"degrees": 30, "is_dry": true}', '{"degrees": 30, "is_dry": false}'),
    (CAPITAL, LONG, "Cats sleep most afternoons because hunting small animals at dusk needs short bursts of energy."),
]
# Signs and letters that decide, in answers whose words are the same.
DETAILS = [
    ("Use C#.", "Use C."),
    ("2*3", "23"),
    ("a*b*c", "abc"),
    ("x < 5", "x > 5"),
    ("It takes >5 days", "It takes <5 days"),
    ("Set a = b + c", "Set a = b - c"),
    ("100 Mb/s", "100 MB/s"),
    ("5 mW", "5 MW"),
    ("-5 degrees", "5 degrees"),
    ("10\xb2", "102"),
    ("5!", "5"),
    ("foo_bar", "foobar"),
    ("#include", "include"),
    ("a||b", "a|b"),
    ("~/x", "/x"),
    ("It takes 3-5 days", "It takes 3 5 days"),
    ("The fee is $5.", "The fee is \u20ac5."),
]
UNCLEAR = [
    (WEATHER, "On Friday it will be sunny", "On Saturday it will be sunny"),
    (CAPITAL, "Nairobi, a city of 4.4 million.", "Nairobi, founded in 1899, has 4.4 million people."),
    (CAPITAL, LONG, f"{LONG} Somebody signs for it."),
    (CAPITAL, LONG.replace("before", "after"), LONG),
    (CAPITAL, "It is safe to mix them.", "It is not safe to mix them at all, as gas forms."),
    (WEATHER, "The train from Bonn to Kiel is late", "The train from Kiel to Bonn is late"),
    (CAPITAL, "", "Nairobi"),
    *((CAPITAL, one, other) for one, other in DETAILS),
    (WEATHER, '{"text": "warm"}', '{"text": "hot and dry"}'),
]


def _told(questions, one, other):
    texts = analyse(questions[0]), analyse(questions[1])
    return is_same(one, other, texts)


def test_what_is_clear_and_what_is_not():
    wrong = []
    for expected, cases in ((True, SAME), (False, DIFFERENT), (None, UNCLEAR)):
        for questions, one, other in cases:
            found = {_told(questions, one, other), _told(questions[::-1], other, one)}
            allowed = {None, False} if expected is None else {expected}
            if not found <= allowed or len(found) > 1:
                wrong.append((one, other, found))
    assert wrong == []


@settings(max_examples=25)
@given(st.text(), st.text())
def test_it_takes_whatever_providers_say(one, other):
    assert _told(CAPITAL, one, one) is True
    assert _told(CAPITAL, one, other) == _told(CAPITAL, other, one)
