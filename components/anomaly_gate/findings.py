"""TFDV's anomalies in words."""

from dataclasses import asdict, dataclass

from tensorflow_metadata.proto.v0 import anomalies_pb2


@dataclass(frozen=True)
class Finding:
    """One anomaly.

    Attributes:
        split: where it was found.
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


def _finding(split: str, feature: str, info: anomalies_pb2.AnomalyInfo) -> Finding:
    severity = "WARNING" if info.severity == anomalies_pb2.AnomalyInfo.WARNING else "ERROR"
    return Finding(split, feature, severity, info.short_description, info.description)
