"""Basic forms of English words, and which words are known at all."""

from functools import lru_cache

from policies.cache.semantic.english.antonyms import ANTONYMS
from policies.cache.semantic.english.kinds import SPELLED
from policies.cache.semantic.english.quantities import UNITS
from policies.cache.semantic.english.synonyms import CONCEPTS
from policies.cache.semantic.english.vocabulary import COURTESY, FUNCTION, VOCABULARY

_IRREGULAR = dict(
    pair.split(":")
    for pair in """
    founded:founded founder:founder founders:founder went:go gone:go goes:go came:come took:take taken:take
    made:make gave:give given:give found:find lost:lose
    bought:buy sold:sell paid:pay sent:send spent:spend built:build kept:keep left:leave felt:feel meant:mean met:meet
    told:tell said:say saw:see seen:see heard:hear knew:know known:know thought:think taught:teach caught:catch
    brought:bring wrote:write written:write drove:drive driven:drive broke:break spoke:speak spoken:speak stole:steal
    stolen:steal chose:choose chosen:choose froze:freeze frozen:freeze woke:wake wore:wear worn:wear tore:tear
    torn:tear swore:swear began:begin begun:begin drank:drink drunk:drink sang:sing sung:sing swam:swim swum:swim
    ran:run ate:eat eaten:eat fell:fall fallen:fall forgot:forget forgotten:forget got:get gotten:get grew:grow
    grown:grow flew:fly flown:fly drew:draw drawn:draw threw:throw thrown:throw blew:blow blown:blow held:hold
    stood:stand understood:understand won:win hung:hang dug:dig stuck:stick struck:strike shot:shoot sat:sit slept:sleep
    swept:sweep wept:weep lent:lend bent:bend dealt:deal led:lead fed:feed bled:bleed fled:flee sped:speed rode:ride
    ridden:ride rose:rise risen:rise hid:hide hidden:hidden bit:bit bitten:bite shook:shake shaken:shake became:become
    laid:lay lain:lie lay:lay dying:die lying:lie tying:tie died:die tied:tie withdrew:withdraw withdrawn:withdraw
    men:man women:woman children:child people:people mice:mouse feet:foot teeth:tooth geese:goose lives:life
    wives:wife knives:knife leaves:leave shelves:shelf halves:half criteria:criterion data:data indices:index
    analyses:analysis matrices:matrix vertices:vertex media:media better:better best:best worse:worse worst:worst
    less:less least:least news:news series:series species:species means:mean always:always as:as is:is was:was
    does:does has:has this:this us:us its:its his:his yes:yes gas:gas bus:bus plus:plus thus:thus process:process
    during:during being:being having:having something:something anything:anything nothing:nothing everything:everything
    morning:morning evening:evening thing:thing string:string king:king ring:ring wing:wing spring:spring
    building:building ceiling:ceiling wedding:wedding pricing:price shipping:shipping billing:billing setting:setting
    meeting:meeting need:need speed:speed feed:feed seed:seed indeed:indeed red:red bed:bed hundred:hundred
    used:use using:use uses:use photos:photo videos:video logos:logo euros:euro kilos:kilo texas:texas
    colour:color colours:color favourite:favorite favour:favor behaviour:behavior labour:labor honour:honor
    neighbour:neighbor neighbours:neighbor centre:center centres:center theatre:theater metre:meter metres:meter
    litre:liter litres:liter kilometre:kilometer kilometres:kilometer fibre:fiber grey:gray licence:license
    defence:defense offence:offense programme:program catalogue:catalog dialogue:dialog cheque:check tyre:tire
    tyres:tire travelling:travel traveller:traveler cancelled:cancel cancelling:cancel labelled:label modelling:model
    jewellery:jewelry enrolment:enrol enroll:enrol enrolled:enrol fulfil:fulfill skilful:skillful aluminium:aluminium
    aeroplane:airplane plough:plow practise:practice judgement:judgment ageing:aging grey-haired:gray dose:dose
    expiry:expiry authorize:authorise organize:organise summarize:summarise recognize:recognise analyze:analyse
    optimize:optimise customize:customise initialize:initialise serialize:serialise normalize:normalise realize:realise
    apologize:apologise categorize:categorise memorize:memorise minimize:minimise maximize:maximise utilize:utilise
    capitalize:capitalise prioritize:prioritise finalize:finalise visualize:visualise
""".split()  # noqa: SIM905
)
_PHRASES = (*SPELLED, *CONCEPTS)
KNOWN = {
    *VOCABULARY,
    *FUNCTION,
    *COURTESY,
    *_IRREGULAR.values(),
    *(words[0] for words in _PHRASES if len(words) == 1),
}
"""Every word of the lists, in its basic form."""


@lru_cache(maxsize=8192)
def base(word: str) -> str:
    """The basic form of a word in lower case, or the word itself where it has none that is known."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word in KNOWN or len(word) < 4:
        return word
    for candidate in _candidates(word):
        if candidate in KNOWN:
            return _IRREGULAR.get(candidate, candidate)
    if "z" in word:
        british = word.replace("iz", "is").replace("yz", "ys")
        if british != word:
            found = base(british)
            if found in KNOWN:
                return found
    if meant := _with_neighbours_exchanged(word):
        return base(meant)
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _with_neighbours_exchanged(word: str) -> str:
    """The known word that this one is with two letters exchanged; the commonest slip of a hand."""
    if len(word) > 4:
        for place in range(len(word) - 1):
            meant = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
            if meant in KNOWN or any(found in KNOWN for found in _candidates(meant)):
                return meant
    return ""


def _candidates(word: str) -> list[str]:
    """What a regular form may come from, likely ones first."""
    found: list[str] = []
    if word.endswith("s"):
        found += [word[:-1], word[:-2]] if word.endswith("es") else [word[:-1]]
        if word.endswith("ies"):
            found.append(word[:-3] + "y")
        if word.endswith("ves"):
            found += [word[:-3] + "f", word[:-3] + "fe"]
    for ending in ("ing", "ed", "er", "est", "ers", "ings", "ly", "en"):
        if word.endswith(ending):
            stem = word[: -len(ending)]
            if len(stem) > 2:
                found += [stem, stem + "e"]
                if stem[-1] == stem[-2]:
                    found.append(stem[:-1])
                if stem[-1] == "i":
                    found.append(stem[:-1] + "y")
                if ending == "ly":
                    found.append(stem + "le")
    return found


KNOWN |= {base(word) for words in _PHRASES for word in words}
KNOWN |= {unit for unit in UNITS if len(unit) > 4}
KNOWN |= {base(part) for word in ANTONYMS for part in word.split("_")}
base.cache_clear()
