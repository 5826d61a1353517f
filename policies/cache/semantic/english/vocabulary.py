"""Common English words in their basic form. A word that stands in none of the lists is treated like a name."""

FUNCTION = frozenset(
    """
    a an the and or but nor so yet if then than as at by for from in into of off on onto out over under up down to
    toward towards with within without about above across after against along among around before behind below
    beneath beside besides between beyond despite during except inside near outside past per since through
    throughout till until upon via versus vs be am is are was were been being do does did doing done have has had
    having will would shall should can could may might must ought i you he she it we they me him her us them my your
    his its our their mine yours hers ours theirs myself yourself himself herself itself ourselves yourselves
    themselves one ones this that these those here there who whom whose what which when where why how whether while
    because though although unless not no never none neither either both each every all any some many much more most
    few fewer less least lot several enough other another such same own only just very too also even still again
    ever already always often sometimes usually rather quite almost perhaps maybe please okay ok yes etc let get got
    getting make go really actually exactly basically simply anyway however therefore thus hence else instead away
    back something anything everything nothing someone anyone everyone nobody somebody anybody everybody somewhere
    anywhere everywhere nowhere whatever whichever whoever wherever whenever
    """.split()  # noqa: SIM905
)

# Said to the assistant, or around what is asked: no part of the question.
COURTESY = frozenset(
    """
    please pls plz kindly thanks thank thx ty cheers hi hello hey dear sorry excuse pardon quick question exactly
    actually basically just simply really okay ok wonder wondering appreciate appreciated assistant bot
    """.split()  # noqa: SIM905
)

VOCABULARY = frozenset(
    """
    ability able abroad absence absolute accept access accident account accountant accurate ache achieve acid act
    action active activity actor actual ad adapt add addition additional address adjust admin administrator admit
    adopt adult advance advantage adventure advertise advice advise affair affect afford afraid afternoon age agency
    agenda agent agree agreement ahead aid aim air airline airplane airport alarm alert algorithm alive allergic
    allergy allow allowance alone alter alternative amount ample analyse analysis analyst ancient anger angle angry
    animal anniversary announce annual answer anxiety apart apartment api app appeal appear appendix apple appliance
    applicant application apply appoint appointment approach appropriate approval approve approximate area argue
    argument arm army arrange arrangement array arrest arrival arrive arrow art article artist ask asleep aspect
    assemble assembly assess asset assign assignment assist assistance associate association assume assurance asthma
    atm atmosphere atom attach attack attempt attend attendance attention attitude attorney attract attribute
    auction audience audio audit aunt author authority authorise auto automate automatic available average avoid
    awake award aware awful baby backpack backup bacon bad badge bag bake balance ball ballet ban banana band bank
    banker bar bare bark barrel barrier base baseball basic basis basket basketball bat batch bath bathroom battery
    battle bay beach bean bear beard beat beautiful become bed bedroom beef beer beg begin beginner behave behavior
    belief believe bell belong belt bench bend benefit bet bicycle bid big bike bill billion billing bin binary bind
    biology bird birth birthday bit bite bitter blame blank blanket bleed blind block blog blood blow board boat
    body boil bomb bond bone bonus book bookmark boot border bore borrow boss bother bottle bottom bowl box boy
    bracket brain brake branch brand brave bread break breakfast breast breath breathe breed brick bridge brief
    bright bring broad broadcast broken brother browse browser brush bucket budget bug build builder building bulb
    bulk burden burn bus bush business busy butter button buy buyer bytes cabin cabinet cable cache cake calculate
    calculation calculator calendar call calm calorie camera camp campaign camping cancel cancellation cancer
    candidate candle candy cap capable capacity capital captain capture car carbon card care career careful cargo
    carpet carrier carrot carry cart case cash cast castle cat catalog catch category cause celebrate cell center
    central century ceremony certain certificate certify chain chair challenge chamber chance change channel chapter
    character charge charger charity charm chart chase chat cheap cheat check checklist checkout cheese chef
    chemical chemistry chest chicken chief child childhood chip chocolate choice choose christmas church cinema
    circle circuit circumstance citizen citizenship city civil claim class classic classify classroom clause clean
    clear click client climate climb clinic clip clock clone close cloth clothes clothing cloud club cluster coach
    coal coast coat code coffee coin cold collapse collar colleague collect collection college color column
    combination combine come comedy comfort comfortable comma command comment commerce commercial commission commit
    commitment committee communicate communication community commute compact company compare comparison compatible
    compensate compensation compete competition competitor compile complain complaint complete complex complexity
    complicated component compose compound compress compute computer concentrate concept concern concert conclude
    conclusion condition conduct conference confidence confident configure configuration confirm confirmation
    conflict confuse confusion connect connection conscious consent consequence consider consist consistent console
    constant constraint construct construction consult consume consumer contact contain container content contest
    context continue contract contribute contribution control convenient conversation conversion convert convince
    cook cookie cool copy copyright core corn corner corporate correct correction cost costume cotton cough count
    counter country county couple coupon courage course court cousin cover coverage cow crack craft crash crazy
    cream create creation creative creature credential credit crew crime criminal crisis criteria critic critical
    crop cross crowd crucial cruel cruise cry crystal cube cultural culture cup cure curious currency current
    curriculum curve custom customer customise cut cycle daily damage damp dance danger dangerous dare dark dash
    dashboard data database dataset date daughter dawn day deadline deaf deal dealer death debate debit debt debug
    decade decide decimal decision declare decline decorate decrease deduct deductible deduction deep deer default
    defeat defect defend defense define definition degree delay delegate delete deliver delivery demand democracy
    demonstrate dental dentist deny depart department departure depend dependency dependent deploy deployment
    deposit depress depression depth derive describe description desert deserve design designer desire desk desktop
    dessert destination destroy detach detail detect determine develop developer development device diabetes
    diagnose diagnosis diagram dial dialog diamond diary dictionary die diet differ difference different difficult
    difficulty dig digit digital dinner dinosaur diploma direct direction director directory dirt dirty disappear
    disaster discard discount discover discovery discuss discussion disease dish disk dismiss display dispose
    dispute distance distribute distribution district disturb dive divide dividend division divorce doctor document
    documentation dog dollar domain domestic donate donation door dose dosage double doubt download downtown draft
    drag drain drama draw drawer drawing dream dress drill drink drive driver drone drop drug dry duck due dull dump
    duplicate duration dust duty eager ear early earn earning earth earthquake ease east easy eat economic economy
    edge edit edition editor educate education effect effective efficiency efficient effort egg elect election
    electric electricity electron electronic element elephant elevator eligible eliminate email emergency emotion
    emotional emphasis employ employee employer employment empty enable encode encounter encourage encrypt
    encryption end endpoint enemy energy engage engine engineer engineering enhance enjoy enlarge enormous enrol
    ensure enter enterprise entertain entertainment entire entity entrance entry envelope environment equal equation
    equip equipment equity equivalent erase error escape essay essential establish estate estimate ethics evaluate
    evaluation evening event evidence evolution exact exam examination examine example exceed excel excellent
    exception excess exchange excite exclude exclusive excuse execute executive exercise exhaust exhibit exist
    existence exit expand expansion expect expectation expense expensive experience experiment expert expire expiry
    explain explanation explode explore export expose exposure express expression extend extension extent external
    extra extract extreme eye face facility fact factor factorial factory fail failure faint fair faith fall false
    familiar family famous fan fancy far fare farm farmer fashion fast fat fatal father fault favor favorite fear
    feature fee feed feedback feel feeling fence fetch fever fiber fiction field fight figure file fill film filter
    final finance financial find fine finger finish fire firewall firm fish fit fitness fix flag flame flash flat
    flavor flaw flexible flight flip float flood floor flour flow flower flu fluid fly focus fold folder follow
    follower font food foot football force forecast foreign forest forever forget fork form formal format formation
    former formula fortune forum forward found foundation fraction frame framework fraud free freedom freeze
    freelance frequency frequent fresh fridge friend friendly front frozen fruit frustrate fry fuel full fun
    function functional fund fundamental funeral funny furniture further future gain gallery gallon game gap garage
    garbage garden garlic gas gate gateway gather gender gene general generate generation generator generic gentle
    geography germ ghost giant gift gig girl give glad glass global glove glue goal goat god gold golf good goods
    govern government governor gown grab grade gradual graduate graduation grain gram grammar grand grandfather
    grandmother grant grape graph graphic grass gravity great green greet grid grill grip grocery ground group grow
    growth guarantee guard guess guest guide guideline guilt guilty guitar gun guy gym habit hair half hall hand
    handle handy hang happen happy harassment hard hardware harm harmful hash hat hate head headache headcount
    headline headphone heal health healthy hear hearing heart heat heating heaven heavy height help helpful hero
    hesitate hide high highlight highway hike hill hint hip hire history hit hobby hold hole holiday home homework
    honest honey honor hook hope horizon hormone horror horse hospital host hostel hot hotel hour house household
    housing hug huge human humble humid humor hunger hungry hunt hurry hurt husband ice icon idea ideal identify
    identity idle ignore ill illegal illness image imagine immediate immigrant immigration immune impact implement
    import importance important impose impossible impress impression improve improvement inbox incident include
    income increase incredible independent index indicate indicator individual industry infect infection inflation
    influence inform informal information infrastructure ingredient inhabitant inherit initial injection injure
    injury ink inn inner innocent innovation input insect insert insight inspect inspection inspire install
    installation installment instance instant institute institution instruct instruction instrument insult insurance
    insure integer integrate integration intelligence intelligent intend intense intention interact interaction
    interest interface interior internal international internet internship interpret interrupt interval interview
    introduce introduction invalid invent invention inventory invest investigate investigation investment investor
    invite invitation invoice involve iron island isolate issue item iterate jacket jail jam jaw jealous jet jewelry
    job join joint joke journal journalist journey joy judge judgment juice jump junior jury justice justify keen
    keep kernel key keyboard kick kid kidney kill kind king kiss kitchen knee knife knock know knowledge lab label
    labor lack ladder lady lake lamp land landing landlord landscape lane language laptop large laser last late
    latency laugh launch laundry law lawn lawsuit lawyer lay layer layout lazy lead leader leadership leaf league
    leak lean learn lease leather leave lecture left leg legacy legal legend legitimate lemon lend length lens
    lesson letter level liability liable liberty library licence license lid lie life lift light limit limitation
    line link lion lip liquid list listen literature litter live liver living load loan local locate location lock
    log logic logical login logo lonely long look loop loose lose loss lost loud love low loyal loyalty luck lucky
    luggage lunch lung luxury machine mad magazine magic magnet mail mailbox main maintain maintenance major
    majority malware man manage management manual manufacture manufacturer map marathon margin mark market marketing
    markup marriage marry mask mass master match material math matrix matter maximum meal mean meaning measure
    measurement meat mechanic mechanism medal media median medical medication medicine medium meet meeting melt
    member membership memory menstrual mental mention mentor menu merchant merge mess message metal meter method
    metric microphone microwave middle midnight migrate migration mild military milk million mind mineral minimum
    minister minor minority minus minute mirror miss missing mission mistake mix mixture mobile mode model moderate
    modern modify module molecule moment money monitor monkey mood moon moral morning mortgage motion motivate
    motivation motor mount mountain mouse mouth move movement movie multiple multiply murder muscle museum music
    musician mystery nail name narrow nation national native natural nature nausea navigate navigation navy nearby
    neat necessary neck need negative negotiate negotiation neighbor neighborhood nephew nerve nervous nest net
    network neutral new news newspaper next nice niece night node noise noisy nominate noon normal normalise north
    nose note notebook notice notification notify noun novel number nurse nut nutrition obey object objective
    obligation observe obstacle obtain obvious occasion occupation occupy occur ocean offense offer office officer
    official offline oil old online open operate operation operator opinion opponent opportunity oppose opposite
    optimal optimise option optional orange orbit order ordinary organ organic organise organisation origin original
    outcome outdoor outfit outline output outstanding oven overdraft overdue overflow overtime overview owe owner
    ownership oxygen pace pack package packet page pain painful paint painting pair palace pale pan panel panic
    pants paper paragraph parallel parameter parcel pardon parent park parking parliament parse part participant
    participate particle particular partner partnership party pass passenger passion passive passport password pasta
    paste patch path patience patient pattern pause pay payment payroll pdf peace peak peanut pen penalty pencil
    pending pension people pepper percent percentage perfect perform performance period permanent permission permit
    person personal personality perspective persuade pet pharmacy phase phone photo photograph phrase physical
    physics piano pick picnic picture pie piece pig pile pill pillow pilot pin pipe pipeline pizza place plain plan
    plane planet plant plastic plate platform play player pleasant pleasure plenty plot plug plugin plumber plural
    plus pneumonia pocket podcast poem poet poetry point poison pole police policy polite political politics poll
    pollution pool poor pop popular population port portfolio portion portrait position positive possess possible
    possibility post postcode postpone pot potato potential pour poverty powder power powerful practical practice
    praise pray predict prediction prefer preference pregnancy pregnant premium prepare preparation prescribe
    prescription presence present presentation preserve president press pressure pretend pretty prevent preview
    previous price pride priest primary prime prince princess principal principle print printer priority prison
    prisoner privacy private privilege prize probability probable problem procedure proceed process processor
    produce product production profession professional professor profile profit program programmer programming
    progress prohibit project projector promise promote promotion prompt proof proper property proposal propose
    protect protection protein protest protocol proud prove provide provider province provision psychology public
    publication publish publisher pull pump punish punishment pupil purchase pure purpose purse push put puzzle
    qualify qualification quality quantity quarter queen query quest queue quick quiet quit quota quotation quote
    rabbit race radiation radio rail railway rain raise random range rank rapid rare rash rate ratio rational raw
    reach react reaction read reader ready real realise reality reason reasonable rebuild recall receipt receive
    recent reception recipe recipient recognise recognition recommend recommendation record recording recover
    recovery recruit rectangle recursion recycle reduce reduction refer reference refill reflect reform refresh
    refrigerator refugee refund refuse regard region register registration regret regular regulate regulation
    reinforce reinstall reject relate relation relationship relative relax release relevant reliable relief relieve
    religion religious reload rely remain remark remember remind reminder remote removal remove render renew renewal
    rent rental repair repay repayment repeat replace replacement reply report reporter repository represent
    representative reputation request require requirement rescue research reserve reservation reset residence
    resident resign resist resistance resolution resolve resort resource respect respond response responsibility
    responsible rest restart restaurant restore restrict restriction result resume retail retain retire retirement
    retrieve return reveal revenue reverse review revise revision revolution reward rhythm rice rich rid ride right
    ring rise risk ritual rival river road roast rob robot rock rocket role roll romantic roof room root rope rotate
    rough round route router routine row royal rub rubber rude ruin rule run runner rural rush sack sad safe safety
    sail salad salary sale salesperson salmon salt sample sanction sand sandwich satellite satisfaction satisfy
    sauce save saving say scale scan scare scary scenario scene schedule scheme scholarship school science
    scientific scientist scissors scope score scrape scratch scream screen screenshot screw script scroll sea seal
    search season seat second secret secretary section sector secure security see seed seek seem select selection
    self sell seller send sender senior sense sensitive sentence separate sequence series serious serve server
    service session set setting settle settlement setup severe sex shade shadow shake shall shallow shame shape
    share sharp shave sheep sheet shelf shell shelter shift shine ship shipment shipping shirt shock shoe shoot shop
    shopping shore short shortcut shot shoulder shout show shower shrink shut shy sibling sick side sight sign
    signal signature significant silence silent silly similar simple simulate sin sing singer single sink sister sit
    site situation size skill skin skip skirt sky slave sleep sleeve slice slide slight slip slope slow small smart
    smell smile smoke smooth snack snake snow soap soccer social society sock soft software soil solar soldier solid
    solution solve song sore sort soul sound soup source south space spam spare speak speaker special specialist
    species specific specify speech speed spell spelling spend spending spider spin spirit split spoil sponsor spoon
    sport spot spouse spread spreadsheet spring square stable staff stage stain stair stake stamp stand standard
    star stare start startup state statement station statistic statue status stay steady steak steal steam steel
    steep stem step stick still stimulate stock stomach stone stop storage store storm story stove straight strain
    strange stranger strategy stream street strength stress stretch strict strike string strip stroke strong
    structure struggle student studio study stuff stupid style subject submit subnet subscribe subscription subsidy
    substance substitute subtitle subtract subway succeed success successful sudden sue suffer sufficient sugar
    suggest suggestion suicide suit suitable sum summary summarise summer sun sunlight sunrise sunset super
    supermarket supervise supervisor supplement supplier supply support suppose surface surgeon surgery surname
    surplus surprise surrender surround survey survive suspect suspend suspicious sweat sweet swim swing switch
    symbol symptom sync syntax system table tablet tag tail take tale talent talk tall tank tap tape target task
    taste tax taxi tea teach teacher team tear technical technique technology teen telephone television tell temper
    temperature template temporary tempt ten tenant tend tennis tense tension tent term terminal terminate terms
    terrible territory test text textbook theater theme theory therapy thermometer thick thief thin thing think
    thought thread threat threaten threshold throat throw thumb thunder ticket tidy tie tiger tight tile time
    timeline timeout timer timezone tiny tip tire tired tissue title toast toilet token tolerate toll tomato tone
    tongue tool tooth top topic torch total touch tough tour tourism tourist tournament towel tower town toxic toy
    trace track tracking trade trademark tradition traditional traffic train trainer training trait transaction
    transfer transform transit transition translate translation translator transmission transmit transparent
    transport transportation trash travel traveler treasure treat treatment treaty tree trend trial triangle tribe
    trick trigger trip trouble truck true trunk trust truth try tube tuition tumor tune tunnel turkey turn tutor
    tutorial twin twist type typical ugly ulcer ultimate umbrella uncle undergo understand unemployment unfortunate
    uniform union unique unit universe university unknown unlimited unusual update upgrade upload upper upset urban
    urge urgent usage use useful user username usual utility vacation vaccinate vaccination vaccine vague valid
    validate validation valley valuable value valve van vanish variable variance variation variety various vary vast
    vegan vegetable vegetarian vehicle vein velocity vendor venture verb verdict verify version vertical vessel
    veteran victim victory video view village violate violence violent virtual virus visa visible vision visit
    visitor vitamin vocabulary voice volcano volt volume volunteer vote voucher vulnerable wage wait waiter wake
    walk wall wallet want war ward warehouse warm warn warning warranty wash waste watch water wave way weak wealth
    weapon wear weather web website wedding weed week weekend weigh weight weird welcome welfare well west wet wheat
    wheel whip whisper white whole wide widget widow width wife wild will wind window wine wing winner winter wipe
    wire wireless wisdom wise wish withdraw withdrawal witness woman wonder wonderful wood wool word work worker
    workflow workout workplace workshop world worry worse worst worth wound wrap wreck wrist write writer wrong yard
    year yellow yesterday yield yoga young youth zero zip zone zoo adapter alias amend anonymous archive attachment
    authenticate authentication autocomplete bandwidth benchmark blacklist bluetooth boolean bootstrap breakpoint
    buffer callback checkbox checksum cipher clipboard cron crypto cursor daemon dataframe deadlock decode decrypt
    deprecate docker docstring dropdown dynamic embed emoji executable filename fingerprint firmware footer
    fullscreen gesture gradient handler header hostname hyperlink indent interpreter intranet invoke keyword lambda
    linter localhost logging lookup macro markdown metadata microservice middleware mock namespace null offset
    overload override pagination param payload pixel placeholder playlist pointer polling popup portal proxy
    ransomware readme reboot recursive redirect refactor regex replica repo resize retry rollback runtime sandbox
    schema scraper scrollbar sdk semicolon serialise shard sidebar signup snapshot socket sql stack static subdomain
    submodule swap tab telemetry throttle thumbnail timestamp toggle toolbar tooltip traceback trojan tuple unicode
    uninstall uptime url userid validator vector viewport vpn watermark webhook wifi wildcard workspace xml json csv
    html css http https ssh ssl tls dns tcp udp ip cpu gpu ram ssd usb git rebase abdominal acne adrenal allergen
    anemia antibiotic antidepressant appetite arthritis artery bladder bruise burnout caffeine calcium cardiac
    cavity checkup cholesterol chronic circulation cramp dehydration dermatologist dizzy fatigue fracture gluten
    hydrate hygiene inflammation insomnia insulin iodine itch lactose migraine nasal nutrient obesity painkiller
    pediatric pharmacist placebo pollen puberty rehab scar seizure sinus spine sprain sunburn sunscreen swollen
    syringe thyroid toothache trauma urine vomit wheelchair accrue amortisation annuity appraisal arbitrage
    bankruptcy beneficiary bookkeeping broker cheque collateral compliance copay creditor crowdfunding custody
    debtor deed deficit depreciation downpayment escrow expenditure fiscal foreclosure forex freelancer garnish
    gratuity gross hedge holding inheritance lender levy lien liquidity litigation notary payable payee payday
    paystub plaintiff prepaid probate prosecute rebate receivable reconcile refinance reimbursement remittance
    rollover royalty sublease surcharge tenancy testament treasury trustee underwriting waive waiver boarding
    carryon concierge customs embassy ferry itinerary layover nonstop overbook runway sightseeing souvenir stopover
    suitcase vacancy
    """.split()  # noqa: SIM905
)
