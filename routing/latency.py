"""Which deployment of a model to try first: by how fast it answered lately, how busy it is, and how often it failed.

Experience is kept by deployment id and outlives a reload of the configuration. Pure: clock and randomness are given.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp
from operator import itemgetter
from random import Random
from typing import NamedTuple

from routing.decision import Deployment
from routing.shares import shuffle_by_weight

# The mean lifetime of a sample.
_TAU_S = 10.0
# After this time without a sample nothing is known of the present.
_COLD_S = 3 * _TAU_S
# As an estimate, where ranking needs one, the last figure is better than none for longer.
_FORGOTTEN_S = 300.0
# Deployments of one model are compared by the time that an answer of this length takes.
_ANSWER_TOKENS = 300
# Where nothing is known of anyone, load alone has to decide.
_LEAST_S = 1e-6
# So many answers without an error are assumed of everyone: one failure alone does not condemn.
_ASSUMED_ANSWERS = 1.0
# A deployment that fails at this rate, or so often in a row, is called only to see whether it has recovered.
_FAILING_RATE = 0.3
_FAILING_ROW = 2
# Decisions that go to such a probe. Every failure in a row doubles the pause before the next one.
_PROBE_SHARE = 0.05
_PROBE_PAUSE_S = 2.5
_LONGEST_PAUSE_S = 60.0
_MOST_DOUBLINGS = 10
# Above this number two drawn at random are compared instead of all, so that the fastest is not overrun.
_MOST_COMPARED = 5
_KEPT = 4_096


class Standing(NamedTuple):
    """What is known of a deployment; times are None where no answer was seen. `error_rate` is 0..1."""

    ttft_s: float | None
    tpot_s: float | None
    in_flight: int
    error_rate: float


@dataclass(slots=True)
class _Record:
    in_flight: int = 0
    began_s: float = float("-inf")
    ttft_s: float | None = None
    tpot_s: float | None = None
    ttft_seen_s: float = float("-inf")
    tpot_seen_s: float = float("-inf")
    seen_s: float = float("-inf")
    # Both counts decay, so their quotient is the error rate of the last few lifetimes.
    errors: float = 0.0
    answers: float = 0.0
    counted_s: float = float("-inf")
    failures_in_row: int = 0

    def count(self, now: float, is_ok: bool) -> None:
        weight = exp((self.counted_s - now) / _TAU_S)
        self.errors *= weight
        self.answers = self.answers * weight + 1.0
        self.counted_s = now
        if is_ok:
            self.failures_in_row = 0
        else:
            self.errors += 1.0
            self.failures_in_row += 1

    def error_rate(self, now: float) -> float:
        weight = exp((self.counted_s - now) / _TAU_S)
        return self.errors * weight / (self.answers * weight + _ASSUMED_ANSWERS)

    def is_failing(self, rate: float) -> bool:
        return rate > _FAILING_RATE or self.failures_in_row >= _FAILING_ROW

    def is_cold(self, now: float) -> bool:
        # More than one call in flight is no probe: then the last figures have to do until one of them ends.
        return self.in_flight <= 1 and now - self.seen_s > _COLD_S

    def may_be_probed(self, now: float) -> bool:
        pause_s = min(_LONGEST_PAUSE_S, _PROBE_PAUSE_S * 2.0 ** min(self.failures_in_row, _MOST_DOUBLINGS))
        return not self.in_flight and now - self.began_s > pause_s


_UNSEEN = _Record()


class LatencyBook:
    """Live times to first token (TTFT) and per output token (TPOT), calls in flight and error rates of deployments.

    Times are peak-EWMAs as in Finagle (`PeakEwma.scala`) and Linkerd: a slower sample counts at once and in full, a
    faster one by exp(-elapsed / 10 s). `clock` gives monotonic seconds. At most 4,096 idle deployments are remembered;
    the ones that were not used for longest are forgotten.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def began(self, id: str) -> None:
        """A call to the deployment starts. Every call of this is followed by one of `ended`."""
        records = self._records
        record = records.get(id)
        if record is None:
            record = records[id] = _Record()
            self._forget()
        else:
            records.move_to_end(id)
        record.in_flight += 1
        record.began_s = self._clock()

    def ended(self, id: str, *, ttft_s: float | None, tpot_s: float | None, is_ok: bool | None) -> None:
        """A call ended, with the seconds it took to the first token and for each further one, as far as known.

        `is_ok` is None where the end says nothing about the deployment: the client left, or the request was at fault.
        """
        record = self._records.get(id)
        if record is None or not record.in_flight:
            return
        record.in_flight -= 1
        now = self._clock()
        if ttft_s is not None:
            record.ttft_s = _peak(record.ttft_s, ttft_s, now - record.ttft_seen_s)
            record.ttft_seen_s = record.seen_s = now
        if tpot_s is not None:
            record.tpot_s = _peak(record.tpot_s, tpot_s, now - record.tpot_seen_s)
            record.tpot_seen_s = record.seen_s = now
        if is_ok is not None:
            record.count(now, is_ok)

    def ttft_s(self, id: str) -> float | None:
        """Seconds to the first token to reckon with; None where no answer was seen for 30 s."""
        record = self._records.get(id)
        if record is None or self._clock() - record.ttft_seen_s > _COLD_S:
            return None
        return record.ttft_s

    def expected_s(self, id: str, output_tokens: float) -> float | None:
        """Seconds to the end of an answer of `output_tokens`; None where none was seen for 5 minutes."""
        record = self._records.get(id)
        if record is None or self._clock() - record.seen_s > _FORGOTTEN_S:
            return None
        return (record.ttft_s or 0.0) + (record.tpot_s or 0.0) * output_tokens

    def snapshot(self) -> Mapping[str, Standing]:
        """Everything known, by deployment id."""
        now = self._clock()
        return {
            key: Standing(record.ttft_s, record.tpot_s, record.in_flight, record.error_rate(now))
            for key, record in self._records.items()
        }

    def order(self, deployments: Sequence[Deployment], rng: Random, *, by_weight: bool = True) -> Sequence[Deployment]:
        """The deployments of one model, the one to try first in front; a permutation.

        Different weights are shares that the operator set, and hold, unless `by_weight` is false. Otherwise the least
        expected time^2 * (in flight + 1) / (1 - error rate)^2 goes first; above five deployments the better of two
        drawn at random (Mitzenmacher 2001, "The Power of Two Choices"). The time is squared because inference servers
        answer many calls side by side: with its first power, a server five times slower keeps getting calls as soon as
        its peers have four under way (`python -m benchmarks.routing.latency_choice`, slow phases of kind `slow`: p99
        4.7 s against 8.3 s).

        Behind all others stand those that fail and those of which nothing recent is known, but one decision in twenty
        puts such a one in front, if no call to it is under way and its pause is over.
        """
        if len(deployments) < 2:
            return deployments
        if by_weight:
            weight = deployments[0].weight
            for deployment in deployments:
                if deployment.weight != weight:
                    return shuffle_by_weight(deployments, rng)
        return self._by_score(deployments, rng)

    def _by_score(self, deployments: Sequence[Deployment], rng: Random) -> list[Deployment]:
        now = self._clock()
        records = [self._records.get(deployment.id, _UNSEEN) for deployment in deployments]
        usual_ttft = _mean([record.ttft_s for record in records])
        usual_tpot = _mean([record.tpot_s for record in records])
        count = len(records)
        # Ties, as at the start, are broken by chance: sorting is stable, so where the walk begins decides.
        first = int(rng.random() * count)
        steady: list[tuple[float, int]] = []
        unsure: list[tuple[float, int]] = []
        for index in (*range(first, count), *range(first)):
            record = records[index]
            ttft = record.ttft_s if record.ttft_s is not None else usual_ttft
            tpot = record.tpot_s if record.tpot_s is not None else usual_tpot
            rate = record.error_rate(now) if record.errors else 0.0
            seconds = ttft + tpot * _ANSWER_TOKENS + _LEAST_S
            scored = (seconds * seconds * (record.in_flight + 1) / (1.0 - rate) ** 2, index)
            (unsure if (record.errors and record.is_failing(rate)) or record.is_cold(now) else steady).append(scored)
        steady.sort(key=_score)
        unsure.sort(key=_score)
        ranked = [index for _, index in steady]
        if len(ranked) > _MOST_COMPARED:
            ranked.insert(0, ranked.pop(min(rng.sample(range(len(ranked)), 2))))
        ranked += [index for _, index in unsure]
        if unsure and rng.random() < _PROBE_SHARE:
            ready = [index for _, index in unsure if records[index].may_be_probed(now)]
            if ready:
                probed = ready[int(rng.random() * len(ready))]
                ranked.remove(probed)
                ranked.insert(0, probed)
        return [deployments[index] for index in ranked]

    def _forget(self) -> None:
        records = self._records
        while len(records) > _KEPT:
            oldest, record = next(iter(records.items()))
            if record.in_flight:
                # A call in flight is use; its end has to find the record.
                records.move_to_end(oldest)
                return
            del records[oldest]


_score = itemgetter(0)


def _peak(value: float | None, sample: float, elapsed_s: float) -> float:
    if value is None or sample >= value:
        return sample
    return sample + (value - sample) * exp(-elapsed_s / _TAU_S)


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else 0.0
