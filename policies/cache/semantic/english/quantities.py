"""Numbers written as words, and units with their spellings."""

_SMALL = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen
"""
SMALL = {word: value for value, word in enumerate(_SMALL.split())}
TENS = {
    word: value * 10
    for value, word in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2)
} | {"fourty": 40}
SCALES = {
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "lakh": 10**5,
    "crore": 10**7,
}
_ORDINALS = """
    first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth
    sixteenth seventeenth eighteenth nineteenth twentieth
"""
ORDINALS = {word: value for value, word in enumerate(_ORDINALS.split(), 1)}
OTHERS = {"half": "0.5", "dozen": "12", "pair": "2", "couple": "2", "single": "1"}
SUFFIXES = {"k": 10**3, "mio": 10**6, "mn": 10**6, "bn": 10**9, "tn": 10**12}

_UNITS = """
    km kilometer kilometers kms/mile mi miles/m meter meters/cm centimeter centimeters/mm millimeter millimeters
    /nm nanometer/inch inches/foot ft feet/yard yards yd/lightyear/acre acres/hectare hectares ha
    /sqm/sqft/kg kilogram kilograms kilo kilos kgs/g gram grams/mg milligram milligrams/mcg microgram micrograms
    /ton tons tonne tonnes/lb lbs pound_weight/oz ounce ounces/stone_weight
    /liter l liters/ml milliliter milliliters millilitre millilitres/cl/gallon gallons gal/pint pints/quart quarts
    /cup cups/tablespoon tbsp tablespoons/teaspoon tsp teaspoons
    /celsius c \u00b0c centigrade/fahrenheit f \u00b0f/kelvin
    /kmh kph/mph/knot knots/ms_speed
    /second sec secs seconds s/minute min mins minutes/hour hr hrs hours h/day days/week weeks wk/month months
    /year yr yrs years/ms millisecond milliseconds/microsecond microseconds/nanosecond nanoseconds
    /decade decades/century centuries
    /night nights/fortnight
    /bit bits/byte bytes/kb kilobyte kilobytes/mb megabyte megabytes/gb gigabyte gigabytes gig/tb terabyte terabytes
    /pb petabyte petabytes/kib/mib/gib/tib/mbps/gbps/kbps
    /hz hertz/khz/mhz megahertz/ghz gigahertz
    /watt w watts/kw kilowatt kilowatts/mw/kwh/volt v volts/amp amps ampere/ohm ohms/mah
    /joule joules/kj/calorie calories cal/kcal/newton newtons/pascal pascals/bar_pressure/psi/atm_pressure/horsepower hp
    /degree degrees \u00b0/radian radians/percent % pct percentage
    /usd $ dollar dollars buck bucks/eur \u20ac euro euros/gbp \u00a3 pound pounds quid/jpy \u00a5 yen
    /inr \u20b9 rupee rupees
    /cent cents/penny pence
    /am/pm/pixel px pixels/page pages/word words/people person persons/calorie_x/mol mole moles/rpm/bpm/dpi
"""
UNITS = {
    spelling: unit.split()[0]
    for unit in "".join(_UNITS.split("\n")).replace("    ", "").split("/")
    for spelling in unit.split()
}
# Written alone they are units all the same; others ("second", "foot", "bit", "cup") may be something else.
PLAIN = frozenset(
    """
    km mile meter cm mm kg gram g mg mcg ton lb oz liter ml gallon pint celsius fahrenheit kelvin kmh mph inch
    tablespoon teaspoon kb mb gb tb mbps gbps hz khz mhz ghz watt kw kwh joule kcal radian hectare acre ounce
    kilogram
    """.split()  # noqa: SIM905
)
