"""What is wrong with the AWS part of a cluster file; names are compared with those that boto3 ships, offline."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from search_spaces.schema import did_you_mean

_PROVIDER_KEYS = (
    "type",
    "region",
    "availability_zone",
    "aws_credentials",
    "cache_stopped_nodes",
    "cloudwatch",
    "key_pair",
    "security_group",
    "use_internal_ips",
    "disable_launch_config_check",
    "disable_node_updaters",
    "foreground_node_launch",
    "worker_liveness_check",
)
_AMI = re.compile(r"ami-[0-9a-f]{8}(?:[0-9a-f]{9})?")


class _Names(NamedTuple):
    regions: list[str]
    options: list[str]
    machines: list[str]


@functools.cache
def _names() -> _Names:
    """What EC2 has, as boto3's data files of the installed version say. ImportError without boto3."""
    import botocore.session

    session = botocore.session.get_session()
    ec2 = session.get_service_model("ec2")
    return _Names(
        [name for part in session.get_available_partitions() for name in session.get_available_regions("ec2", part)],
        list(ec2.operation_model("RunInstances").input_shape.members),
        list(ec2.shape_for("InstanceType").enum),
    )


def check_aws(config: dict[str, Any], placeholder: str) -> Iterator[str]:
    """Sentences about region, machines and their options; values that hold `placeholder` are left alone."""
    try:
        names = _names()
    except ImportError:
        yield "provider aws: boto3 is not installed here and 'ray up' needs it: pip install 'nt-study[s3]'"
        return
    provider = config["provider"]
    for key in provider:
        if key not in _PROVIDER_KEYS:
            yield f"provider.{key} is no key of an AWS cluster{did_you_mean(key, _PROVIDER_KEYS)}"
    region = str(provider.get("region"))
    if region not in names.regions and placeholder not in region:
        yield f"provider.region: AWS has no region {region!r}{did_you_mean(region, names.regions)}"
    for name, kind in config["available_node_types"].items():
        where, machine = f"available_node_types.{name}.node_config", kind["node_config"]
        for key in machine:
            if key not in names.options:
                yield f"{where}.{key} is no option of an EC2 instance{did_you_mean(key, names.options)}"
        wanted = str(machine.get("InstanceType"))
        if wanted not in names.machines and placeholder not in wanted:
            yield f"{where}.InstanceType: EC2 has no {wanted!r}{did_you_mean(wanted, names.machines)}"
        image = str(machine.get("ImageId", ""))
        if not image:
            # Ray 2.60 would take an Ubuntu 18.04 image, whose NVIDIA driver is too old for this torch.
            yield f"{where}.ImageId is missing, and Ray's own choice is too old for this torch; name an AMI"
        elif not _AMI.fullmatch(image) and placeholder not in image:
            yield f"{where}.ImageId: {image!r} is no AMI; it looks like ami-0123456789abcdef0"
        if provider.get("cache_stopped_nodes", True) and _is_spot(machine):
            yield f"{where}: spot instances cannot be stopped and kept; set provider.cache_stopped_nodes: false"


def _is_spot(machine: dict[str, Any]) -> bool:
    return (machine.get("InstanceMarketOptions") or {}).get("MarketType") == "spot"
