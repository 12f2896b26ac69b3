"""The only rooms that know the SDK."""

SDK_LOGGERS = ("aiobotocore", "aiohttp", "boto3", "botocore", "urllib3")
"""The loggers of the SDK and what it uses. Their debug logs hold secret keys, session tokens
and external ids."""
