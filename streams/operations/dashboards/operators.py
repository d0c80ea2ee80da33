"""The dashboard of operators: do the workers keep up, what is missing, what went wrong."""

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from streams.operations.dashboards.panels import Graph, Number, Query, Shown, made

KEEPING_UP: Final[tuple[Shown, ...]] = (
    Graph(
        title="Lag",
        about="Events of each topic that are not done, as the workers know it. What grows for an "
        "hour needs more workers. Without a worker there is no curve: see `redlane lag`.",
        unit="short",
        queries=[Query("sum by (topic) (redlane_lag_events)", "{{topic}}")],
    ),
    Graph(
        title="Events done",
        about="By each stage.",
        unit="ops",
        queries=[
            Query("sum by (stage) (rate(redlane_events_total[$__rate_interval]))", "{{stage}}")
        ],
    ),
    Graph(
        title="From arrival to verdict",
        about="Of declarations, from their time in Kafka; it contains the wait. The highest bucket "
        "ends at 300 s.",
        unit="s",
        queries=[
            Query(
                f"histogram_quantile({share}, sum by (le) "
                "(rate(redlane_declaration_latency_seconds_bucket[$__rate_interval])))",
                name,
            )
            for share, name in ((0.5, "half"), (0.95, "95 of 100"), (0.99, "99 of 100"))
        ],
    ),
    Graph(
        title="Oldest event under way",
        about="Of each worker. What grows without end is an event that makes no progress: the "
        "worker restarts itself at REDLANE_STALL_LIMIT_S.",
        unit="s",
        queries=[
            Query(
                "max by (job, instance) (redlane_oldest_under_way_seconds)", "{{job}} {{instance}}"
            )
        ],
    ),
)
WORK: Final[tuple[Shown, ...]] = (
    Graph(
        title="Time of a micro-batch, by step",
        about="95 of 100 take less. The step that grows is the one to look at: fetch is object "
        "storage, signals is Redis, publish is Kafka, the others are the processor.",
        unit="s",
        queries=[
            Query(
                "histogram_quantile(0.95, sum by (le, step) "
                "(rate(redlane_stage_seconds_bucket[$__rate_interval])))",
                "{{step}}",
            )
        ],
    ),
    Graph(
        title="Events of a micro-batch",
        about="On average. 1: the workers wait for events; REDLANE_BATCH_SIZE: events wait for "
        "them.",
        unit="short",
        queries=[
            Query(
                "sum by (job) (rate(redlane_batch_events_sum[$__rate_interval])) "
                "/ sum by (job) (rate(redlane_batch_events_count[$__rate_interval]))",
                "{{job}}",
            )
        ],
    ),
    Graph(
        title="Events under way",
        about="Received by a worker and not yet done.",
        unit="short",
        queries=[Query("sum by (job) (redlane_declarations_under_way)", "{{job}}")],
    ),
    Graph(
        title="Photos fetched",
        about="From object storage.",
        unit="Bps",
        queries=[Query("sum by (job) (rate(redlane_photo_bytes_total[$__rate_interval]))")],
    ),
)
LANES: Final[tuple[Shown, ...]] = (
    Graph(
        title="Lanes against the budget",
        about="Shares of all declarations, over an hour. Above the budget for a day: profiles "
        "select on top, or the capacity is unknown. Without REDLANE_CAPACITY there is no budget.",
        unit="percentunit",
        queries=[
            Query(
                'sum by (fate) (rate(redlane_declarations_total{fate=~"yellow|red"}[1h])) '
                '/ scalar(sum(rate(redlane_declarations_total{fate!="dead_letter"}[1h])))',
                "{{fate}}",
            ),
            Query("max by (lane) (redlane_lane_budget_ratio)", "budget {{lane}}"),
        ],
    ),
    Graph(
        title="Declarations, by fate",
        about="Each gets one.",
        unit="ops",
        stacked=True,
        queries=[
            Query("sum by (fate) (rate(redlane_declarations_total[$__rate_interval]))", "{{fate}}")
        ],
    ),
)
MISSING: Final[tuple[Shown, ...]] = (
    Graph(
        title="Declarations without some of their evidence",
        about="Share. A service that fails shows here first; photos that were never declared "
        "count, too.",
        unit="percentunit",
        queries=[
            Query(
                "sum(rate(redlane_degraded_declarations_total[$__rate_interval])) "
                '/ sum(rate(redlane_declarations_total{fate!="dead_letter"}[$__rate_interval]))',
                "degraded",
            )
        ],
    ),
    Graph(
        title="What is missing",
        about="Pieces of evidence, by reason code; docs/events.md says what each means.",
        unit="ops",
        queries=[
            Query("sum by (code) (rate(redlane_degradations_total[$__rate_interval]))", "{{code}}")
        ],
    ),
    Graph(
        title="Embeddings from the cache",
        about="hit: a photo or text that came before; unavailable: Redis fails, and all are "
        "computed anew.",
        unit="percentunit",
        stacked=True,
        queries=[
            Query(
                "sum by (result) (rate(redlane_cache_lookups_total[$__rate_interval])) "
                "/ scalar(sum(rate(redlane_cache_lookups_total[$__rate_interval])))",
                "{{result}}",
            )
        ],
    ),
    Graph(
        title="Contents that were refused",
        about="In an hour. Of Redis: written by another version or hand; they count as absent. Of "
        "reference topics: profiles, measures and rates that this version cannot read.",
        unit="short",
        queries=[
            Query(
                "sum by (contents) (increase(redlane_redis_contents_refused_total[1h]))",
                "{{contents}}",
            ),
            Query(
                "sum by (topic) (increase(redlane_reference_events_skipped_total[1h]))", "{{topic}}"
            ),
        ],
    ),
)
WRONG: Final[tuple[Shown, ...]] = (
    Graph(
        title="Dead letters",
        about="By stage and reason, in an hour: `redlane dead-letters list --reason CODE`.",
        unit="short",
        queries=[
            Query(
                "sum by (stage, reason) (increase(redlane_dead_letters_total[1h]))",
                "{{stage}} {{reason}}",
            )
        ],
    ),
    Number(
        title="Events removed before they were read",
        about="By retention, since the workers started. Ask the senders for them again.",
        unit="short",
        queries=[Query("sum(redlane_expired_events_total) or vector(0)", "events")],
    ),
    Graph(
        title="Customs messages, by fate",
        about="In an hour. waiting: an amendment before its original.",
        unit="short",
        queries=[Query("sum by (fate) (increase(redlane_customs_messages_total[1h]))", "{{fate}}")],
    ),
    Graph(
        title="Webhooks to case management",
        about="Attempts in an hour. retried: it failed, and is made again. refused: a dead letter.",
        unit="short",
        queries=[
            Query("sum by (result) (increase(redlane_webhooks_total[1h]))", "{{result}}"),
        ],
    ),
    Graph(
        title="Time of a webhook",
        about="Until the receiver answers.",
        unit="s",
        queries=[
            Query(
                f"histogram_quantile({share}, sum by (le) "
                "(rate(redlane_webhook_seconds_bucket[5m])))",
                name,
            )
            for share, name in ((0.5, "half"), (0.95, "19 in 20"))
        ],
    ),
    Graph(
        title="Inspection outcomes, by fate",
        about="In an hour. unknown: not selected here, or more than a year ago.",
        unit="short",
        queries=[Query("sum by (fate) (increase(redlane_outcomes_total[1h]))", "{{fate}}")],
    ),
    Graph(
        title="Networks that failed",
        about="Runs in an hour, by what was done: a batch halved, a row on the CPU, the CPU for "
        "good (the GPU is lost), or none.",
        unit="short",
        queries=[
            Query("sum by (remedy) (increase(redlane_inference_faults_total[1h]))", "{{remedy}}")
        ],
    ),
    Graph(
        title="Decision log",
        about="Events appended, and anchors that could not be told, in an hour.",
        unit="short",
        queries=[
            Query("sum by (topic) (increase(redlane_decisions_logged_total[1h]))", "{{topic}}"),
            Query(
                'sum(increase(redlane_anchors_total{result="failed"}[1h]))', "anchors that failed"
            ),
        ],
    ),
    Graph(
        title="Restarts",
        about="Of each worker, in an hour.",
        unit="short",
        queries=[
            Query("sum by (job) (changes(process_start_time_seconds{job!=''}[1h]))", "{{job}}")
        ],
    ),
)
WORKERS: Final[tuple[Shown, ...]] = (
    Graph(
        title="Partitions of each worker",
        about="0 for minutes: the worker is in no group, or there are more workers than "
        "partitions.",
        unit="short",
        queries=[Query("redlane_assigned_partitions", "{{job}} {{instance}}")],
    ),
    Graph(
        title="Memory",
        about="Of each worker.",
        unit="bytes",
        queries=[
            Query(
                "process_resident_memory_bytes and on (job, instance) redlane_assigned_partitions",
                "{{job}} {{instance}}",
            )
        ],
    ),
)


def operators() -> Dashboard:
    """Return the dashboard."""
    return made(
        "redlane-operators",
        "Redlane: operators",
        "Whether the workers keep up, what is missing, and what went wrong.",
        "now-6h",
        (
            ("Do they keep up?", KEEPING_UP),
            ("Where does the time go?", WORK),
            ("Lanes", LANES),
            ("What is missing?", MISSING),
            ("What went wrong?", WRONG),
            ("Workers", WORKERS),
        ),
    )
