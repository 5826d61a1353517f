"""Pairs of opposites, and how opposites are made by a prefix or suffix."""

_PAIRS = """
    abnormal-normal above-below absence-presence absent-present abstract-concrete abundant-scarce accept-refuse
    accept-reject accept-decline accelerate-decelerate accelerate-slow accurate-wrong acquire-lose active-idle
    active-inactive active-passive active-dormant acute-chronic add-remove add-subtract add-delete add-drop
    admit-deny adult-child adult-minor adult-kid advance-retreat advantage-disadvantage affirm-deny
    affordable-expensive after-before agree-disagree alive-dead all-none    allow-forbid
    allow-prevent allow-deny allow-block allow-reject allow-prohibit allow-disallow allow-refuse permit-forbid
    permit-deny permit-prohibit permit-block permit-reject also-only always-never always-sometimes always-rarely
    amateur-professional analog-digital ancient-modern answer-question antonym-synonym anterior-posterior
    apart-together appear-disappear append-prepend approach-leave approve-reject approve-deny approve-decline
    approve-disapprove arrive-depart arrive-leave arrival-departure ascend-descend ascending-descending
    ascent-descent asleep-awake assemble-disassemble assets-liabilities asset-liability asynchronous-synchronous
    async-sync attach-detach attack-defend attract-repel authorise-forbid automatic-manual automatically-manually
    available-unavailable back-front backend-frontend backward-forward bad-good bankrupt-solvent beautiful-ugly
    beginning-end begin-end begin-finish begin-stop start-stop start-end start-finish beginner-expert
    beginner-advanced benefit-drawback benefit-disadvantage benefit-risk benefit-harm best-worst better-worse
    big-small big-little large-small large-little bind-unbind birth-death bitter-sweet black-white bless-curse
    blame-praise block-unblock bold-timid boost-reduce borrow-lend borrower-lender bottom-top boy-girl
    boyfriend-girlfriend brave-cowardly break-repair break-fix bride-groom bright-dark bright-dim bring-take
    broad-narrow brother-sister bull-bear buy-sell buyer-seller buy-rent call-put calm-nervous capture-release
    casual-formal cause-effect cause-prevent cause-consequence ceiling-floor centralise-decentralise chaos-order
    cheap-expensive cheap-costly check-uncheck child-parent civilian-military clean-dirty clear-cloudy clear-vague
    clever-stupid client-server climb-descend clockwise-anticlockwise clockwise-counterclockwise close-open
    close-distant close-far closed-open coarse-fine cold-hot cold-warm collect-deliver collapse-expand column-row
    combine-separate combine-split  comic-tragic common-rare common-unusual compile-decompile complex-simple
    compress-decompress compress-expand compress-extract conceal-reveal condense-expand condense-evaporate
    confirm-cancel confirm-deny confirm-decline connect-disconnect con-pro cons-pros constant-variable
    construct-demolish consumer-producer consume-produce contract-expand contract-employee cool-warm
    correct-incorrect correct-wrong create-delete create-destroy create-remove credit-debit cruel-kind cruel-gentle
    dad-mom damage-repair danger-safety dangerous-safe dark-light darkness-light dawn-dusk daughter-son day-night
    dead-living deaf-hearing death-life debtor-creditor deceleration-acceleration deep-shallow default-custom
    defeat-victory defendant-plaintiff deficit-surplus deflate-inflate deflation-inflation delete-insert delete-keep
    delete-restore delete-recover remove-restore remove-insert remove-install remove-keep deliver-receive
    demand-supply demote-promote deny-grant departure-arrival dependent-independent deposit-withdraw
    deposit-withdrawal depreciate-appreciate destination-origin destination-source destroy-build different-same
    difficult-easy hard-easy dim-brighten direct-indirect disable-enable disable-activate discharge-admit
    discharge-charge discount-markup discount-surcharge discourage-encourage divide-multiply division-multiplication
    divorce-marry domestic-foreign domestic-international dose-overdose doubt-trust  downgrade-upgrade
    download-upload downstream-upstream downstairs-upstairs downward-upward dry-wet dull-sharp dull-bright
    duplicate-unique dynamic-static early-late earlier-later earn-spend east-west eastern-western
    economical-wasteful ebb-flow emigrate-immigrate emigration-immigration employ-dismiss employed-unemployed
    employee-employer empty-full encode-decode encrypt-decrypt enemy-friend enlarge-shrink enlarge-reduce
    enrol-withdraw enter-exit enter-leave entrance-exit entry-exit even-odd evergreen-deciduous everybody-nobody
    everyone-nobody everyone-somebody everything-nothing everything-something evil-good exceed-undershoot
    except-including exclude-include excluding-including exclude-contain exhale-inhale exist-vanish expand-shrink
    expense-income expense-revenue cost-revenue cost-benefit cost-profit explicit-implicit export-import
    exterior-interior external-internal extinct-extant extrovert-introvert fail-succeed fail-pass fail-work
    failure-success fall-rise fall-climb fake-genuine fake-real false-true familiar-strange famous-unknown far-near
    fast-slow fasten-unfasten fat-thin fat-slim father-mother feminine-masculine female-male few-many fewer-more
    fewest-most fiction-nonfiction fill-empty find-lose first-last first-second first-final fixed-variable
    fixed-mobile flat-hilly flat-steep flexible-rigid float-sink follow-lead follow-unfollow follower-leader
    follow-precede following-previous fold-unfold foolish-wise forget-remember forgive-punish former-latter
    former-current forward-reverse fragile-sturdy free-paid free-busy free-occupied freeze-melt freeze-thaw
    freeze-unfreeze freezing-boiling frequent-rare frequently-rarely often-rarely often-never often-seldom
    fresh-stale fresh-rotten frontal-rear gain-lose gain-loss generous-stingy generous-greedy gentle-rough
    gift-purchase give-receive give-take global-local gloomy-cheerful grant-revoke grow-shrink growth-decline
    guest-host guilty-innocent happy-sad happy-unhappy harm-heal harmful-harmless harmful-beneficial hasten-delay
    hate-love hate-like dislike-like dislike-love heal-hurt healthy-sick healthy-ill heaven-hell heavy-light
    heavy-lightweight height-depth help-hinder hero-villain hide-show hide-reveal hide-unhide hidden-visible
    high-low higher-lower highest-lowest hire-fire hit-miss hold-release hollow-solid honest-dishonest
    horizontal-vertical hostile-friendly hot-cool huge-tiny human-machine humid-dry husband-wife identical-different
    ignore-notice ignore-consider illegal-legal illegal-lawful allowed-forbidden allowed-banned ill-well
    immediate-delayed improve-worsen improvement-decline  inbound-outbound incoming-outgoing increase-decrease
    increase-reduce increase-drop increase-lower increase-fall increase-decline rise-decrease rise-drop rise-decline
    raise-lower raise-reduce raise-decrease raise-cut grow-decline increment-decrement indoor-outdoor
    indoors-outdoors inferior-superior infinite-finite inflow-outflow inhibit-promote inject-extract inner-outer
    input-output inside-outside install-uninstall insult-praise insult-compliment intentional-accidental
    interest-principal invest-divest invite-uninvite inward-outward joy-sorrow junior-senior joint-separate
    keep-discard keep-cancel king-queen knowledge-ignorance known-unknown landlord-tenant lease-own last-next
    latest-oldest latest-earliest newest-oldest laugh-cry lazy-diligent leading-trailing leave-stay leave-join
    left-right legacy-modern lend-return lengthen-shorten less-more least-most liberal-conservative lift-lower
    light-dark liquid-solid liquid-gas load-unload load-save local-remote lock-unlock locked-unlocked login-logout
    log_in-log_out sign_in-sign_out long-short loose-tight lose-win lose-keep loser-winner loss-profit loss-win
    loud-quiet love-indifference lower-upper lowercase-uppercase loyal-disloyal luck-misfortune major-minor
    majority-minority male-female man-woman masculine-neuter mandatory-optional required-optional
    mandatory-voluntary manager-employee  married-single mature-immature max-min maximal-minimal
    maximise-minimise maximum-minimum mean-median merge-split merge-separate mild-severe mild-spicy minus-plus
    mobile-desktop mobile-stationary monarchy-republic moral-immoral morning-evening morning-night morning-afternoon
    mount-unmount multiple-single multiply-add moving-still mute-unmute naive-sophisticated narrow-wide
    natural-artificial near-distant necessary-unnecessary negative-positive negative-affirmative nephew-niece
    new-old new-used nobody-somebody noisy-quiet noon-midnight normal-strange north-south northern-southern
    nothing-something obese-slim obey-disobey object-subject obvious-hidden odd-normal offense-defense offer-request
    offline-online off-on old-young older-younger open-shut open-lock oppose-support opposite-same
    optimist-pessimist optimistic-pessimistic oral-written  order-disorder outer-internal over-under
    overestimate-underestimate overweight-underweight own-rent pack-unpack pain-pleasure part-whole partial-full
    partial-complete participate-abstain pass-block past-future past-present patient-impatient pause-resume
    pause-continue pause-play pay-receive peace-war permanent-temporary personal-business plural-singular
    plug-unplug polite-rude poor-rich portrait-landscape possible-impossible postpone-advance poverty-wealth
    powerful-weak precede-succeed prefix-suffix prefix-postfix pregnant-nonpregnant premature-late prepaid-postpaid
    present-future prevent-cause prevent-promote preserve-destroy previous-next prior-subsequent private-public
    privatise-nationalise problem-solution produce-destroy profitable-unprofitable progress-regress prove-disprove
    public-personal publish-unpublish pull-push pure-mixed put-get quantity-quality quick-slow quiet-noisy
    raw-cooked read-write reader-writer read-unread real-imaginary recede-advance receiver-sender recipient-sender
    regular-irregular regular-special reject-grant relax-tighten relaxed-tense release-withhold relevant-irrelevant
    relief-worry remain-leave remove-put renew-cancel rent-sell repair-damage repel-invite  resist-yield
    respect-contempt  restrict-relax retail-wholesale reveal-cover reverse-original reward-punish
    reward-punishment rigid-loose ripe-unripe risk-safety rough-smooth rude-courteous rural-urban safe-unsafe
    safe-risky safe-harmful save-spend save-discard save-waste scalable-unscalable secure-vulnerable security-danger
    select-deselect send-receive sender-receiver separate-join serial-parallel serious-funny set-unset
    shallow-profound sharp-blunt ship-return shortage-surplus shorten-extend shorten-expand show-conceal
    shrink-stretch shy-outgoing sick-well silent-loud silent-noisy similar-different similarity-difference
    simple-complicated simplify-complicate single-double single-several single-all sit-stand sleep-wake slow-quick
    small-tall smart-dumb smile-frown soft-hard soft-loud solve-cause some-none source-target sour-sweet
    sparse-dense speed_up-slow_down split-join stable-unstable stack-queue stand-fall start-quit start-complete
    stop-continue stop-go stop-resume stop-keep straight-crooked straight-curved strength-weakness stress-relax
    strict-lenient strong-weak strengthen-weaken subscribe-unsubscribe subtle-obvious subtract-multiply
    subtraction-addition success-defeat sufficient-insufficient sum-difference sum-product sum-quotient add-multiply
    add-divide subtract-divide sunrise-sunset supplier-customer suspend-resume suspend-reinstate swell-shrink
    synonym-opposite systolic-diastolic tail-head tall-short teach-learn teacher-student temporary-constant
    thick-thin thin-dense throw-catch tie-untie tight-slack top-low trap-free trust-distrust truth-lie
    truth-falsehood turn_on-turn_off enable-block undo-redo unite-divide  upper-bottom upside-downside
    urgent-trivial usual-rare vacant-occupied vague-precise valid-invalid valid-expired vertical-diagonal
    victim-attacker victory-loss visible-invisible voluntary-forced wake-doze warm-chilly wax-wane weekday-weekend
    whisper-shout white-brown wild-tame wild-domestic win-fail winner-runner_up winning-losing win-draw
    plus-less minus-markup plus-time plus-over minus-time minus-over time-over power-time power-plus power-minus
    power-over register-close register-delete register-cancel register-deactivate
    work-play worsen-recover worth-worthless wrap-unwrap wrong-right young-elderly young-aged zip-unzip
    zoom_in-zoom_out ban-allow ban-permit ban-lift legalise-ban accept-deny allow-ban appreciate-resent arm-disarm
    assign-unassign backup-restore back_up-restore base-derived batch-streaming blacklist-whitelist
    blocklist-allowlist block-allow bug-feature cached-fresh capitalise-lowercase charge-refund checkin-checkout
    check_in-check_out commit-revert compile-interpret copy-move copy-cut  cut-paste dark_mode-light_mode
    deploy-rollback deprecate-introduce disconnect-pair drain-fill drop-create eat-fast  embed-extract
    encode-parse even-uneven exit-stay fast_forward-rewind fetch-push flatten-nest focus-blur forward-back
    freelance-permanent gross-net grant-deny greater-less greater-smaller head-foot high_school-college hot-mild
    include-omit include-skip indent-dedent indent-outdent inhale-exhale interior-outer interpolate-extrapolate
    join-quit latitude-longitude lazy-eager left_join-right_join link-unlink live-die local-global lock-open
    lossless-lossy major-patch merge-rebase minor-patch minute-second month-year monthly-yearly monthly-annual
    monthly-weekly daily-weekly daily-monthly daily-hourly daily-yearly weekly-yearly hourly-weekly
    numerator-denominator  open_source-proprietary opt_in-opt_out overflow-underflow overpay-underpay
    overclock-underclock own-lease pack-extract part_time-full_time peak-trough pin-unpin pitch-catch
    plaintiff-accused plain-encrypted pop-push popular-unpopular  post-delete get-delete get-set
    predecessor-successor print-scan producer-consumer prone-immune proactive-reactive public-secret push-poll
    quick-long quick-gradual rear-front receive-give recent-old record-erase recruit-dismiss register-unregister
    register-deregister relative-absolute renewable-nonrenewable report-hide request-response reserve-cancel
    book-cancel order-return restart-shutdown restart-stop retain-delete retract-extend revenue-expense
    revenue-profit rise-set rotate-fix row-field salty-sweet schedule-cancel scroll_up-scroll_down seller-purchaser
    senior-intern serialise-deserialise serialise-parse server-browser share-unshare sharpen-blur short-tall
    short-high short_term-long_term side_effect-benefit sign_up-unsubscribe single-married single-twin sink-rise
    sleepy-alert soften-harden spend-earn star-unstar start_up-shut_down boot-shutdown storage-memory
    stateful-stateless stereo-mono stock-bond structured-unstructured suffix-infix summer-winter surplus-debt
    suspend-activate switch_on-switch_off symmetric-asymmetric tax-subsidy teenager-adult thaw-solidify
    tighten-loosen today-tomorrow today-yesterday tomorrow-yesterday tonight-tomorrow toxic-safe train-test
    transmit-receive transparent-opaque traffic-parking typed-untyped unary-binary unlimited-limited untag-tag
    update-delete uptime-downtime vaccinated-infected vein-artery vegetarian-carnivore verbose-quiet verbose-concise
    verify-dispute viral-bacterial virus-bacteria vote-abstain vowel-consonant wake-hibernate wealth-debt wean-feed
    weak-sturdy western-oriental wet-arid white_collar-blue_collar widen-narrow wide-tight withdraw-add
    withdraw-insert within-outside within-beyond worker-boss writable-readonly   acidic-alkaline
    acid-base aerobic-anaerobic altitude-depth anode-cathode arid-humid benign-malignant biotic-abiotic
    conductor-insulator convex-concave cardio-strength diurnal-nocturnal dominant-recessive endothermic-exothermic
    equator-pole eukaryote-prokaryote flammable-fireproof herbivore-carnivore hypertension-hypotension
    hyperglycemia-hypoglycemia hyperthyroidism-hypothyroidism inductive-deductive kinetic-potential lunar-solar
    linear-nonlinear lower-raise lower-increase mammal-reptile organic-inorganic organic-synthetic osmosis-diffusion
    predator-prey proton-electron proton-neutron rational-irrational sedentary-active sterile-fertile supply-consume
    soluble-insoluble theory-practice thesis-antithesis velocity-speed voltage-current weight-mass yin-yang
""".split()  # noqa: SIM905


# Little words that tell two prompts apart where nothing else does.
_WEAK_PAIRS = """
    up-down in-out on-under all-one all-some all-any some-one both-one both-either can-should can-must may-must
    may-should
    could-must must-should do-should he-she his-her him-her they-he they-she i-he i-she we-they who-whose here-there
    this-that these-those left-over past-to from-to into-from towards-from during-before during-after until-after
    since-until by-after
    every-some every-one each-one everywhere-somewhere anything-everything
""".split()  # noqa: SIM905


def _by_word(pairs: list[str]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for pair in pairs:
        left, _, right = pair.partition("-")
        found.setdefault(left, set()).add(right)
        found.setdefault(right, set()).add(left)
    return {word: frozenset(others) for word, others in found.items()}


ANTONYMS = _by_word(_PAIRS)
WEAK = _by_word(_WEAK_PAIRS)
_PREFIXES = ("un", "dis", "in", "im", "il", "ir", "non", "de", "mis", "anti", "counter")
_TWIN_PREFIXES = (
    ("over", "under"),
    ("pre", "post"),
    ("in", "ex"),
    ("up", "down"),
    ("macro", "micro"),
    ("hyper", "hypo"),
    ("inter", "intra"),
    ("en", "de"),
    ("in", "out"),
    ("fore", "hind"),
    ("maxi", "mini"),
    ("multi", "single"),
)


def is_made_opposite(left: str, right: str) -> bool:
    """Whether one is made of the other with a prefix or suffix that denies it."""
    if len(left) > len(right):
        left, right = right, left
    if len(left) < 3:
        return False
    if right.endswith(left):
        return right[: -len(left)] in _PREFIXES
    if left[:3] == right[:3] and right.endswith("less"):
        stem = right[:-4]
        return left in (stem, stem + "ful")
    if left[-3:] == right[-3:]:
        return any(
            (left.startswith(one) and right.startswith(two) and left[len(one) :] == right[len(two) :])
            or (left.startswith(two) and right.startswith(one) and left[len(two) :] == right[len(one) :])
            for one, two in _TWIN_PREFIXES
        )
    return False
