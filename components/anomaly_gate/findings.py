"""TFDV's anomalies in words, and the distances that it measured."""

from dataclasses import asdict, dataclass
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2


@dataclass(frozen=True)
class Finding:
    """One anomaly.

    Attributes:
        split: where it was found, or which sets were compared.
        feature: path of the feature, or `data set` for an anomaly of the whole.
        severity: `ERROR` or `WARNING`.
        what: TFDV's short description.
        detail: TFDV's description.
    """

    split: str
    feature: str
    severity: str
    what: str
    detail: str

    def to_dict(self) -> dict[str, str]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.split}, {self.feature}: {self.what}: {self.detail}"


def findings(anomalies: anomalies_pb2.Anomalies, split: str) -> list[Finding]:
    """Returns the findings in `anomalies`, sorted by feature."""
    if anomalies.data_missing:
        return [Finding(split, "data set", "ERROR", "no data", "no examples were seen")]
    found = [
        _finding(split, feature, info) for feature, info in sorted(anomalies.anomaly_info.items())
    ]
    if anomalies.HasField("dataset_anomaly_info"):
        found.append(_finding(split, "data set", anomalies.dataset_anomaly_info))
    return found


@dataclass(frozen=True)
class Distance:
    """How far apart two sets are in one feature, by a comparator of the schema.

    Attributes:
        sets: the two sets.
        feature: path of the feature.
        measure: TFDV's name of the distance.
        value: in [0, 1]; 0 where the two are distributed alike.
        threshold: from which on it is worth a warning.
    """

    sets: str
    feature: str
    measure: str
    value: float
    threshold: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def warns(self) -> bool:
        return self.value > self.threshold


def distances(anomalies: anomalies_pb2.Anomalies, sets: str) -> list[Distance]:
    """Returns what TFDV measured between two sets, whether it is much or little."""
    found = []
    for info in anomalies.drift_skew_info:
        for measured in (*info.drift_measurements, *info.skew_measurements):
            measure = anomalies_pb2.DriftSkewInfo.Measurement.Type.Name(measured.type)
            words = measure.lower().replace("_", " ").replace("l infty", "largest difference")
            feature = ".".join(info.path.step)
            found.append(Distance(sets, feature, words, measured.value, measured.threshold))
    return sorted(found, key=lambda distance: distance.feature)


def comparisons(anomalies: anomalies_pb2.Anomalies, sets: str) -> list[Finding]:
    """Returns only those findings that come of comparing two sets, not of the schema."""
    compared = anomalies_pb2.Anomalies()
    for feature, info in anomalies.anomaly_info.items():
        names = (anomalies_pb2.AnomalyInfo.Type.Name(reason.type) for reason in info.reason)
        if any(name.startswith("COMPARATOR_") for name in names):
            compared.anomaly_info[feature].CopyFrom(info)
    return findings(compared, sets)


def _finding(split: str, feature: str, info: anomalies_pb2.AnomalyInfo) -> Finding:
    severity = "WARNING" if info.severity == anomalies_pb2.AnomalyInfo.WARNING else "ERROR"
    return Finding(split, feature, severity, info.short_description, info.description)
