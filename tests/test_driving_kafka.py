"""Frames sent to Kafka: every one at least once, or an error; by a stand-in, and over librdkafka's own test broker."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import PATTERN
from test_driving_tables import output

from rtseg.archive.drive import DriveOptions, open_drive
from rtseg.driving.kafka import Kafka
from rtseg.errors import ConfigError, SinkFailed


class StandIn:
    """Delivers on `poll` and `flush`; its queue takes `room` messages; `broken`: the number of one that is lost."""

    def __init__(self, *, room: int = 100, broken: int | None = None, stuck: bool = False) -> None:
        self.taken: list[tuple[str, bytes, bytes]] = []
        self.waiting: list[Callable[..., None]] = []
        self.room, self.broken, self.stuck = room, broken, stuck

    def produce(self, topic: str, value: bytes, key: bytes, *, on_delivery: Any) -> None:
        if len(self.waiting) >= self.room:
            raise BufferError("queue full")
        self.taken.append((topic, key, value))
        self.waiting.append(on_delivery)

    def poll(self, timeout: float) -> int:
        if self.stuck:
            return 0
        told, self.waiting = self.waiting, []
        for place, tell in enumerate(told, len(self.taken) - len(told)):
            tell("timed out" if place == self.broken else None, None)
        return len(told)

    def flush(self, timeout: float) -> int:
        self.poll(timeout)
        return len(self.waiting)


def send(kafka: Kafka, count: int) -> None:
    for index in range(count):
        kafka.write(output(index))


def test_a_frame_is_a_message_with_its_id() -> None:
    producer = StandIn()
    with Kafka(servers="broker:9092", topic="road", stream="a.mp4", producer=producer) as kafka:
        kafka.write(output(45))
    ((topic, key, value),) = producer.taken
    assert (topic, key, kafka.delivered) == ("road", b"a.mp4:45", 1)
    said = json.loads(value)
    assert (said["schema"], said["id"], said["frame"]["pts"]) == (2, ["a.mp4", 45], 45)
    assert [track["id"] for track in said["tracks"]] == [7, 8]


def test_a_full_queue_waits_and_loses_nothing() -> None:
    producer = StandIn(room=1)
    producer.poll = lambda timeout: StandIn.poll(producer, timeout) if timeout else 0  # type: ignore[method-assign]
    with Kafka(servers="broker:9092", producer=producer) as kafka:
        for index in range(5):
            kafka.write(output(index))
    assert [key for _, key, _ in producer.taken] == [f":{index}".encode() for index in range(5)]
    assert kafka.delivered == 5


def test_a_message_that_is_lost_ends_the_sink() -> None:
    kafka = Kafka(servers="broker:9092", producer=StandIn(broken=1))
    with pytest.raises(SinkFailed, match=r"broker:9092 did not take a message \(timed out\)"):
        send(kafka, 5)


def test_a_broker_that_takes_nothing_is_told() -> None:
    kafka = Kafka(servers="broker:9092", timeout=0.1, producer=StandIn(room=1, stuck=True))
    kafka.write(output(0))
    with pytest.raises(SinkFailed, match="takes nothing"):
        kafka.write(output(1))
    with pytest.raises(SinkFailed, match="has not taken 1 messages"):
        kafka.close()


def test_messages_arrive_at_a_broker_and_a_second_run_sends_them_again() -> None:
    """librdkafka brings a broker that speaks Kafka's protocol over the loopback; a consumer reads it back."""
    confluent = pytest.importorskip("confluent_kafka", reason="not installed: pip install 'rtseg[kafka]'")
    host = confluent.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none"})
    servers = ",".join(f"{broker.host}:{broker.port}" for broker in host.list_topics(timeout=10).brokers.values())
    assert servers.startswith("127.0.0.1:")
    for _ in range(2):
        with Kafka(servers=servers, stream="a.mp4", timeout=10) as kafka:
            for index in range(20):
                kafka.write(output(index))
        assert kafka.delivered == 20
    consumer = confluent.Consumer(
        {"bootstrap.servers": servers, "group.id": "test", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    )
    try:
        consumer.assign([confluent.TopicPartition("rtseg", number, 0) for number in range(4)])
        ids: list[tuple[str, int]] = []
        for _ in range(200):
            found = consumer.poll(0.1)
            if found is not None and found.error() is None:
                stream, pts = json.loads(found.value())["id"]
                ids.append((stream, pts))
            if len(ids) == 40:
                break
    finally:
        consumer.close()
    assert sorted(ids) == sorted([("a.mp4", index) for index in range(20)] * 2)


def test_a_drive_is_sent_while_it_is_written(tmp_path: Path) -> None:
    confluent = pytest.importorskip("confluent_kafka", reason="not installed: pip install 'rtseg[kafka]'")
    host = confluent.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "none"})
    (broker,) = host.list_topics(timeout=10).brokers.values()
    options = DriveOptions(model="road-fast", kafka=f"{broker.host}:{broker.port}", topic="street", analyzers=())
    opened = open_drive(PATTERN, tmp_path, options)
    (kafka,) = (sink for sink in opened.job.sinks if isinstance(sink, Kafka))
    opened.run()
    assert kafka.delivered == 5
    assert "street" in host.list_topics(timeout=10).topics


def test_no_broker_is_an_error_and_no_silence() -> None:
    pytest.importorskip("confluent_kafka", reason="not installed: pip install 'rtseg[kafka]'")
    kafka = Kafka(servers="127.0.0.1:1", timeout=1.0)
    kafka.write(output(0))
    with pytest.raises(SinkFailed, match=r"127\.0\.0\.1:1"):
        kafka.close()
    with pytest.raises(ConfigError, match="these options"):
        Kafka(servers="127.0.0.1:1", settings={"acs": "all"})
