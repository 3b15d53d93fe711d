"""Every Redis key of the job system. Nothing else builds one, except the scripts, which get theirs from here.

RQ's own keys are those of rq 3.0 with its default prefix; only the scripts and RQ's worker touch them.
"""

from dataclasses import dataclass

PREFIX = "lumiere:"
RQ_PREFIX = "rq:"

JOB_PREFIX = f"{PREFIX}job:"  # + id: the record (hash); + id + EVENTS_SUFFIX: its event stream
EVENTS_SUFFIX = ":events"
RQ_JOB_PREFIX = f"{RQ_PREFIX}job:"  # + attempt name: what RQ carries (hash)

INDEX = f"{PREFIX}jobs"  # zset: id by time of creation (ms)
LEASES = f"{PREFIX}leases"  # zset: id by end of the lease (ms)
DELAYED = f"{PREFIX}delayed"  # zset: id by the time it may be dispatched again (ms)
DEADLINES = f"{PREFIX}deadlines"  # zset: id by the time at which it is cancelled (ms)
OUTBOX = f"{PREFIX}outbox"  # stream: one row for each terminal transition
QUEUES = f"{PREFIX}queues"  # set: name of each queue that a job was ever put into
WORKERS = f"{PREFIX}workers"  # zset: worker name by time last seen (ms)
SPEED = f"{PREFIX}speed"  # hash: seconds per step by model and shape, seconds per unit of cost by model
REAPER = f"{PREFIX}reaper"  # hash: when a reaper last passed, and until when none may expire leases
FULL = f"{PREFIX}full"  # string: there while Redis has no room for new jobs
TOTALS = f"{PREFIX}totals"  # hash: counters since this Redis was set up
FILES = f"{PREFIX}files"  # zset: id of an uploaded file by time of creation (µs)
STYLES = f"{PREFIX}styles"  # zset: id of a style that was learned, or is, by time of creation (µs)
API_KEYS = f"{PREFIX}keys"  # zset: key id by time of creation (s)
API_KEYS_USED = f"{PREFIX}keys:used"  # zset: key id by time of its last use (s)
LINK_SECRET = f"{PREFIX}secret:links"  # string: what signed links are signed with
WEBHOOKS = f"{PREFIX}webhooks"  # zset: id of an endpoint by time of creation (µs)
DELIVERIES = f"{PREFIX}deliveries"  # zset: name of a delivery by the time at which it is due (ms)
BELL = f"{PREFIX}events"  # pub/sub channel: the id of a job whose stream has grown


def job(job_id: str) -> str:
    return JOB_PREFIX + job_id


def gone(name: str) -> str:
    """string: where in its index a deleted job or file was."""
    return f"{PREFIX}gone:{name}"


def events(job_id: str) -> str:
    return JOB_PREFIX + job_id + EVENTS_SUFFIX


def file(file_id: str) -> str:
    """hash: what is known of an uploaded file."""
    return f"{PREFIX}file:{file_id}"


def style(style_id: str) -> str:
    """hash: what is known of a style; its weights once its job has completed."""
    return f"{PREFIX}style:{style_id}"


def style_names(owner: str) -> str:
    """hash: the ids of one owner's styles by name."""
    return f"{PREFIX}owner:{owner}:styles"


def webhook(endpoint_id: str) -> str:
    """hash: an endpoint that is told of events."""
    return f"{PREFIX}webhook:{endpoint_id}"


def webhook_log(endpoint_id: str) -> str:
    """zset: name of a delivery to the endpoint by time of its event (s)."""
    return f"{PREFIX}webhook:{endpoint_id}:deliveries"


def delivery(name: str) -> str:
    """hash: one event for one endpoint, and how it went."""
    return f"{PREFIX}delivery:{name}"


def idempotency(digest: str) -> str:
    return f"{PREFIX}idempotency:{digest}"


def api_key(key_id: str) -> str:
    return f"{PREFIX}key:{key_id}"


def owned(owner: str) -> str:
    """zset: ids of one owner's jobs by time of creation (ms)."""
    return f"{PREFIX}owner:{owner}:jobs"


def active(account: str) -> str:
    """set: ids of one account's jobs that wait or run."""
    return f"{PREFIX}account:{account}:active"


def usage(day: int) -> str:
    """hash: one day's ledger, days counted from 1970-01-01; `account|model|what` by amount."""
    return f"{PREFIX}usage:{day}"


def worker(name: str) -> str:
    return f"{PREFIX}worker:{name}"


def attempt_name(job_id: str, attempt: int) -> str:
    """The id of the RQ job that carries one attempt."""
    return f"{job_id}-a{attempt}"


def split_attempt_name(name: str) -> tuple[str, int]:
    """Job id and attempt number of an RQ job id. Raises ValueError when it is none of ours."""
    job_id, separator, number = name.rpartition("-a")
    if not separator or not number.isascii() or not number.isdigit():
        raise ValueError(f"{name!r} does not name an attempt")
    return job_id, int(number)


def queue_of_model(queue_name: str, model: str) -> str:
    """The queue of one model, which the workers that hold it take their jobs from. `queue_name` has no dot."""
    return f"{queue_name}.{model}"


@dataclass(frozen=True)
class QueueKeys:
    """The keys of one model's queue: our order and load, and RQ's lists."""

    name: str

    @property
    def waiting(self) -> str:
        """zset: id by its turn; its rank is the queue position, its size the queue's length."""
        return f"{PREFIX}queue:{self.name}"

    @property
    def since(self) -> str:
        """zset: id of a waiting job by the time of its creation (ms)."""
        return f"{PREFIX}queue:{self.name}:since"

    @property
    def clocks(self) -> str:
        """hash: the virtual time of each priority; it never goes back."""
        return f"{PREFIX}queue:{self.name}:clocks"

    @property
    def turns(self) -> str:
        """hash: the virtual time up to which each account's share is spent, by priority; none of an empty queue."""
        return f"{PREFIX}queue:{self.name}:turns"

    @property
    def cost(self) -> str:
        """number: the cost of all waiting jobs."""
        return f"{PREFIX}queue:{self.name}:cost"

    @property
    def workers(self) -> str:
        """zset: name of a worker that holds the model of this queue warm by time last seen (ms)."""
        return f"{PREFIX}queue:{self.name}:workers"

    @property
    def weights(self) -> str:
        """string: the digest of the model's weights, as the worker has them that was the last to load them."""
        return f"{PREFIX}queue:{self.name}:weights"

    @property
    def rq_list(self) -> str:
        return f"{RQ_PREFIX}queue:{self.name}"

    @property
    def rq_popped(self) -> str:
        return f"{self.rq_list}:intermediate"
