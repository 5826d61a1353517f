"""Sets whose members exclude each other: a question about one of them is not answered by what holds for another.

On each line of a set one member with all its spellings; several words stand together with `_`.
"""

_SETS: dict[str, str] = {
    "weekday": """
        monday mon/tuesday tue tues/wednesday wed/thursday thu thur thurs/friday fri/saturday sat/sunday sun/weekend
    """,
    "month": """
        january jan/february feb/march/april apr/june jun/july jul/august aug/september sep sept/october oct
        /november nov/december dec
    """,
    "season": """
        spring/summer/autumn/winter/easter/christmas xmas/thanksgiving/halloween/new_year/ramadan/diwali/hanukkah
    """,
    "day": """
        today/tomorrow/yesterday/tonight this_evening/this_week/next_week/last_week/this_month/next_month/last_month
        /this_year/next_year/last_year/this_morning/this_afternoon/next_weekend/last_night/this_weekend
        /day_after_tomorrow/day_before_yesterday/this_quarter/next_quarter/last_quarter
    """,
    "daytime": "noon midday/midnight",
    "country": """
        usa us_of_a u.s. united_states united_states_of_america america american
        /uk u.k. united_kingdom great_britain britain british/england/scotland scottish/wales welsh/ireland irish
        /france/germany/italy/spain/portugal/netherlands holland dutch/belgium belgian/switzerland swiss
        /austria austrian/poland/czechia czech_republic/slovakia slovak/hungary/romania/bulgaria/greece
        /turkey turkiye/russia/ukraine/belarus/norway/sweden/denmark/finland/iceland icelandic/estonia/latvia
        /lithuania/serbia/croatia/slovenia/bosnia/albania/north_macedonia/montenegro/kosovo/moldova/luxembourg/malta
        /cyprus/monaco/china/japan/india indian/pakistan pakistani/bangladesh bangladeshi/sri_lanka/nepal/bhutan
        /myanmar burma/thailand/vietnam/cambodia/laos/malaysia malaysian/singapore singaporean/indonesia
        /philippines filipino/taiwan taiwanese/hong_kong/south_korea/north_korea/mongolia/kazakhstan/uzbekistan/iran
        /iraq iraqi/israel israeli/palestine/jordan jordanian/lebanon lebanese/syria syrian/saudi_arabia saudi/yemen
        /oman/qatar/uae united_arab_emirates emirati/kuwait/bahrain/afghanistan afghan/egypt egyptian/libya/tunisia
        /algeria/morocco moroccan/sudan/ethiopia ethiopian/kenya kenyan/uganda/tanzania/rwanda/nigeria nigerian
        /ghana ghanaian/senegal/ivory_coast/cameroon/congo/angola/zambia/zimbabwe/mozambique/botswana/namibia
        /south_africa south_african/madagascar/canada canadian/mexico mexican/guatemala/honduras/el_salvador
        /nicaragua/costa_rica/panama/cuba cuban/jamaica jamaican/haiti/dominican_republic/puerto_rico
        /colombia colombian/venezuela/ecuador/peru peruvian/bolivia/chile chilean/argentina argentinian argentine
        /brazil brazilian/uruguay/paraguay/australia australian/new_zealand/fiji/european_union eu europe european
        /africa african/asia asian/north_america/south_america/antarctica/brazilians
    """,
    "place": """
        london/paris/berlin/munich/hamburg/frankfurt/cologne/rome/milan/venice/florence/naples/turin/madrid
        /barcelona/seville/valencia/lisbon/porto/amsterdam/rotterdam/brussels/antwerp/zurich/geneva/bern/basel
        /vienna/salzburg/prague/warsaw/krakow/budapest/bucharest/sofia/athens/istanbul/ankara/moscow
        /saint_petersburg/kyiv kiev/minsk/oslo/bergen/stockholm/gothenburg/copenhagen/helsinki/reykjavik/tallinn
        /riga/vilnius/dublin/belfast/edinburgh/glasgow/manchester/liverpool/birmingham/leeds/bristol/cardiff/oxford
        /cambridge/lyon/marseille/nice_airport/bordeaux/toulouse/beijing/shanghai/shenzhen/guangzhou/chengdu/tokyo
        /osaka/kyoto/nagoya/sapporo/seoul/busan/pyongyang/delhi new_delhi/mumbai bombay/bangalore bengaluru/chennai
        /kolkata/hyderabad/pune/karachi/lahore/islamabad/dhaka/colombo/kathmandu/bangkok/phuket/hanoi
        /ho_chi_minh_city saigon/kuala_lumpur/jakarta/bali/manila/taipei/ulaanbaatar/tehran/baghdad/jerusalem
        /tel_aviv/beirut/damascus/amman/riyadh/jeddah/mecca/doha/dubai/abu_dhabi/muscat/kabul/tashkent/cairo
        /alexandria/tripoli/tunis/algiers/casablanca/rabat/marrakesh/khartoum/addis_ababa/nairobi/mombasa/kampala
        /kigali/dar_es_salaam/lagos/abuja/accra/dakar/kinshasa/luanda/lusaka/harare/johannesburg/cape_town/durban
        /pretoria/new_york nyc new_york_city/los_angeles/chicago/houston/phoenix_arizona/philadelphia/san_antonio
        /san_diego/dallas/austin/san_jose/san_francisco sf/seattle/denver/boston/las_vegas/miami/orlando/atlanta
        /detroit/minneapolis/portland/new_orleans/washington washington_dc/baltimore/nashville/memphis/charlotte
        /pittsburgh/cleveland/honolulu/toronto/montreal/vancouver/calgary/ottawa/quebec/mexico_city/cancun
        /guadalajara/havana/bogota/medellin/caracas/quito/lima/la_paz/santiago/buenos_aires/montevideo/asuncion
        /sao_paulo/rio_de_janeiro rio/brasilia/sydney/melbourne/brisbane/perth/adelaide/canberra/auckland/wellington
        /california/texas/florida/alaska/hawaii/arizona/nevada/oregon/colorado/utah/ohio/illinois/michigan/georgia
        /virginia/massachusetts/pennsylvania/ontario/bavaria/catalonia/tuscany/sicily/mercury_planet/venus/mars
        /jupiter/saturn/uranus/neptune/pluto
    """,
    "language": """
        english/french/german/spanish/italian/portuguese/russian/chinese/mandarin/cantonese/japanese/korean/arabic
        /hindi/bengali/urdu/punjabi/tamil/telugu/turkish/polish_language/ukrainian/greek/hebrew/latin/swedish
        /norwegian/danish/finnish/hungarian/czech/romanian/bulgarian/serbian/croatian/thai/vietnamese/indonesian
        /malay/tagalog/swahili/persian farsi/catalan/basque/esperanto/klingon/afrikaans/zulu/mongolian/tibetan
        /sanskrit
    """,
    "programming_language": """
        python/javascript/typescript/java/kotlin/golang/rust_language/c++ cpp/c#/ruby/php/perl/scala/haskell/erlang
        /elixir/clojure/lua/julia/matlab/fortran/cobol/bash/powershell/sql/dart/groovy/ocaml/swift_language
        /objective-c/f#/assembly/visual_basic/lisp/prolog/solidity/zig/r_language
    """,
    "database": """
        mysql/postgresql/sqlite/mongodb mongo/redis/valkey/memcached/cassandra/dynamodb/oracle_database/mariadb
        /elasticsearch/opensearch/neo4j/clickhouse/snowflake/bigquery/redshift/duckdb/couchdb/influxdb/cockroachdb
        /firestore/supabase/sql_server mssql/rabbitmq/kafka
    """,
    "platform": """
        windows/linux/macos mac_os osx os_x mac/ubuntu/debian/fedora/centos/red_hat rhel/arch_linux/android
        /ios ipados/chromeos/freebsd/iphone/ipad/xbox/playstation/nintendo/alexa/siri/chromebook
    """,
    "cloud": """
        aws amazon_web_services/azure/gcp google_cloud/heroku/digitalocean/cloudflare/vercel/netlify/hetzner
        /openstack/docker/podman/kubernetes/nomad/terraform/ansible/puppet/jenkins/github/gitlab/bitbucket/jira
        /trello/asana/confluence
    """,
    "framework": """
        react/angular/vue vue.js/svelte/django/flask/fastapi/rails ruby_on_rails/laravel/spring_boot/express.js
        /next.js/node.js node nodejs/deno/numpy/pandas/polars/pytorch/tensorflow/jax/keras/scikit-learn sklearn
        /bootstrap_css/tailwind/jquery/npm/yarn/pnpm/pip/conda/poetry/maven/gradle/cmake/cargo_rust/webpack/vite/vim
        /emacs/vscode/pycharm/intellij/chrome/firefox/safari/outlook/gmail/excel/powerpoint/photoshop/whatsapp
        /telegram/facebook/instagram/twitter/tiktok/linkedin/youtube/netflix/spotify/paypal/venmo/zelle
    """,
    "currency": """
        dollar dollars usd/euro euros eur/pound_sterling gbp sterling/yen jpy/yuan cny renminbi rmb/rupee rupees inr
        /franc francs chf/rouble ruble rub/krw/peso pesos mxn/real_brl brl/krona sek/nok/dkk/zloty pln
        /forint huf/lira try_lira/rand zar/cad/aud/nzd/sgd/hkd/aed dirham/riyal sar/shekel ils/baht thb/bitcoin btc
        /ethereum eth/dogecoin/cent cents
    """,
    "colour": """
        red/green/blue/yellow/orange/purple/pink/brown/black/white/gray grey/cyan/magenta/turquoise/violet/beige
        /navy_blue/maroon/silver/golden
    """,
    "format": """
        json/xml/yaml/csv/toml/html/markdown/pdf/docx/xlsx/pptx/png/jpeg jpg/gif/svg/mp3/mp4/wav/avi/parquet/avro
        /protobuf/ini/base64/hex hexadecimal/url_encoding/utf-8 utf8/ascii/binary/octal/decimal
        /roman_numeral roman_numerals/latex/md5/sha1/sha256/http/https/ftp/sftp/ssh/tcp/udp/imap/smtp/pop3/ipv4/ipv6
        /graphql/grpc/rest_api/soap_api
    """,
    "metric": """
        revenue/profit/headcount/market_cap/share_price stock_price/dividend/ebitda/operating_margin/gross_margin
        /cash_flow/debt/population/gdp/area/unemployment_rate/inflation_rate/life_expectancy/mean average/median
        /mode/variance/standard_deviation/range/sum/product/quotient/remainder/perimeter/circumference/diameter
        /radius/currency/capital
    """,
    "medicine": """
        ibuprofen advil/paracetamol acetaminophen tylenol/aspirin/naproxen/amoxicillin/penicillin/metformin/insulin
        /azithromycin/doxycycline/ciprofloxacin/prednisone/lisinopril/atorvastatin/omeprazole/sertraline/fluoxetine
        /warfarin/levothyroxine/cetirizine/loratadine/diphenhydramine benadryl/melatonin/codeine/morphine/diclofenac
        /xanax/valium
    """,
    "company": """
        apple_inc/google/microsoft/amazon/meta/tesla/nvidia/intel/amd/ibm/oracle/samsung/sony/toyota/honda/ford/bmw
        /volkswagen/siemens/sap/nestle/walmart/costco/ikea/nike/adidas/boeing/airbus/uber/lyft/airbnb/ebay/alibaba
        /openai/anthropic/mistral/deepseek/pfizer/moderna
    """,
    "family": """
        mother mom mum/father dad/brother/sister/son/daughter/wife/husband/uncle/aunt/cousin/nephew/niece
        /grandmother grandma/grandfather grandpa/boyfriend/girlfriend
    """,
    "animal": """
        dog puppy/cat kitten/horse/cow/pig/sheep/goat/chicken/duck/rabbit/hamster/fish/bird/snake/turtle/lion/tiger
        /bear/wolf/elephant/monkey/whale/shark/dolphin/bee/ant/spider/mouse/rat/frog/parrot
    """,
    "food": """
        rice/pasta/pizza/bread/beef/pork/lamb/turkey_meat/salmon/tuna/shrimp/egg eggs/milk/cheese/butter/yogurt
        /apple/banana/strawberry/mango/grape/lemon/potato/tomato/onion/garlic/carrot/broccoli/spinach/mushroom/bean
        /lentil/tofu/chocolate/cake/cookie/pancake/soup/salad/sandwich/burger/sushi/taco/curry/steak/coffee/tea/beer
        /wine/juice/oat/quinoa/peanut/almond/walnut/honey/sugar/salt/flour
    """,
    "body": """
        head/neck/shoulder/arm/elbow/wrist/hand/finger/chest/stomach/hip/knee/ankle/foot/toe/ear/eye/nose/tooth/skin
        /heart/lung/liver/kidney/brain/throat
    """,
    "sport": """
        soccer/basketball/baseball/tennis/golf/hockey/cricket/rugby/volleyball/swimming/boxing/yoga/pilates/marathon
        /triathlon/skiing/snowboarding/chess/poker
    """,
    "document": """
        passport/visa/driving_licence drivers_license driver_licence/birth_certificate/marriage_certificate
        /residence_permit/work_permit/id_card/social_security_number/credit_card/debit_card/gift_card
    """,
    "writing": """
        email/letter/essay/poem/haiku/sonnet/limerick/tweet/blog_post/headline/cover_letter/resume cv/speech
        /press_release/short_story/song_lyrics/slogan/toast
    """,
    "tone": "formal/informal/friendly/sarcastic/humorous funny/professional/aggressive/romantic",
    "direction": "north/south/east/west/northeast/northwest/southeast/southwest",
    "size": "small/medium/large",
    "rank": "first 1st/second_place/third/last/next/previous",
    "http": "get_request/post_request/put_request/delete_request/patch_request",
    "law": "copyright/trademark/patent",
    "git": "commit/push/pull/merge/rebase/stash/cherry-pick/checkout/clone/fork",
    "crud": "insert/select/update/delete/truncate",
    "meal": "breakfast/lunch/dinner/dessert/snack",
    "gas": "oxygen/nitrogen/hydrogen/helium/carbon_dioxide/methane",
    "metal": "iron/copper/gold/aluminium aluminum/steel/lead_metal/zinc/nickel/titanium/platinum/tin",
    "frequency": "daily/weekly/monthly/yearly/hourly/quarterly",
    "person": "plaintiff/defendant/tenant/landlord/buyer/seller/employer/employee/borrower/lender/patient/nurse/doctor",
    "quantity": "length/width/height/depth/weight/temperature/speed/voltage/pressure",
    "list_order": "ascending/descending/reverse/shuffle",
    "school": "algebra/geometry/calculus/physics/chemistry/biology/history/geography/economics/philosophy/psychology",
    "disease": """
        flu influenza/covid covid-19 coronavirus/measles/malaria/diabetes/asthma/cancer/pneumonia/bronchitis
        /migraine/hypertension/arthritis/anemia/eczema/depression/anxiety/adhd/chickenpox/tuberculosis/hepatitis
    """,
    "vehicle": "car/bus/train/plane/ferry/taxi/bicycle/motorcycle/truck/tram/subway/scooter/boat",
    "card": "visa_card/mastercard/american_express amex",
    "insurance": "health_insurance/car_insurance/home_insurance/travel_insurance/life_insurance/pet_insurance",
}
# Words of everyday prose as well: a value only where it is written like a name, or the other prompt has one of the set.
_ALIASES_BY_CASE = {
    "us": "usa", "go": "golang", "rust": "rust_language", "swift": "swift_language", "may": "may", "r": "r_language",
    "c": "c", "polish": "polish_language", "apple": "apple_inc", "oracle": "oracle", "phoenix": "phoenix_arizona",
    "nice": "nice_airport", "chad": "chad", "korea": "south_korea", "march": "march", "turkey": "turkey",
}  # fmt: skip
# Alone on one side they change what is asked for: "the weather" is not "the weather tomorrow".
STRICT = frozenset(
    """
    weekday month season day daytime country place language programming_language database platform cloud framework
    currency medicine company
    """.split()  # noqa: SIM905
)


def _members() -> tuple[dict[tuple[str, ...], str], dict[str, tuple[str, ...]]]:
    spelled: dict[tuple[str, ...], str] = {}
    kinds: dict[str, list[str]] = {}
    for kind, members in _SETS.items():
        for member in "".join(members.split("\n")).split("/"):
            spellings = member.split()
            kinds.setdefault(spellings[0], []).append(kind)
            for spelling in spellings:
                spelled.setdefault(tuple(spelling.split("_")), spellings[0])
    for name, kind in (("may", "month"), ("c", "programming_language"), ("chad", "country")):
        kinds.setdefault(name, []).append(kind)
    return spelled, {name: tuple(found) for name, found in kinds.items()}


SPELLED, KINDS = _members()
"""From the words of a spelling to the member; from a member to the sets it is of."""
CAPITALISED = dict(_ALIASES_BY_CASE)
"""What a word stands for where it is written like a name."""
