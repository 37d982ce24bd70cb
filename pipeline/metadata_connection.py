"""Where ML Metadata is, as a connection."""

import os
from pathlib import Path

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd

from models.errors import InputError
from pipeline.config import MetadataSettings

PASSWORD_VARIABLE = "CORONET_METADATA_PASSWORD"


def connection_config(settings: MetadataSettings, sqlite_file: Path) -> mlmd.ConnectionConfig:
    """Returns the connection to a SQLite file, or to the MySQL server that `settings` name.

    Raises:
        InputError: a server is named and its password is not in the environment.
    """
    config = mlmd.ConnectionConfig()
    if settings.backend == "sqlite":
        config.sqlite.filename_uri = str(sqlite_file)
        config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        return config
    password = os.environ.get(PASSWORD_VARIABLE)
    if password is None:
        raise InputError(
            f"metadata.backend is mysql: put the password of {settings.user}@{settings.host} "
            f"into the environment variable {PASSWORD_VARIABLE}"
        )
    config.mysql.host = settings.host
    config.mysql.port = settings.port
    config.mysql.database = settings.database
    config.mysql.user = settings.user
    config.mysql.password = password
    return config


def check_connection(settings: MetadataSettings, connection: mlmd.ConnectionConfig) -> None:
    """Opens the store once, so that one that cannot be used is known before the run.

    Raises:
        InputError: the server does not answer, or does not let us in; or the file is damaged.
    """
    once = mlmd.ConnectionConfig()
    once.CopyFrom(connection)
    once.retry_options.max_num_retries = 0
    try:
        MetadataStore(once)
    except RuntimeError as error:  # all that MLMD says here
        if settings.backend == "sqlite":
            raise InputError(
                f"cannot open {connection.sqlite.filename_uri}: it is damaged or not writable; "
                f"restore it, or name another --output ({error})"
            ) from error
        raise InputError(
            f"cannot open ML Metadata at {settings.user}@{settings.host}:{settings.port}/"
            f"{settings.database}: check metadata.* and {PASSWORD_VARIABLE} ({error})"
        ) from error
