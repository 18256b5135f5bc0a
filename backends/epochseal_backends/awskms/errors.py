"""What KMS and its library say, as errors of ours: each names the call, the key and what to do."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions as aws
from botocore.parsers import ResponseParserError

from epochseal.errors import BackendError, ConfigError, Denied, EpochsealError, Unavailable, WrongKey
from epochseal_backends.servers import AS_VERIFIER, Meaning, one_line

_SERVER_ERROR = 500
_TOO_MANY = 429

_BUSY = {
    "DependencyTimeoutException",
    "IDPCommunicationError",
    "InternalFailure",
    "InternalServerError",
    "KMSInternalException",
    "KeyUnavailableException",
    "LimitExceededException",
    "RequestLimitExceeded",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
_LASTING_STATE = re.compile(r"pending ?(replica ?)?(deletion|import)|disabled", re.IGNORECASE)
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}
_UNKNOWN_CREDENTIAL = {
    "AuthFailure",
    "IDPRejectedClaim",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidClientTokenId",
    "InvalidIdentityToken",
    "InvalidSignatureException",
    "InvalidToken",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "OptInRequired",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnauthorizedException",
    "UnrecognizedClientException",
}
_FORBIDDEN = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
_WRONG_KEY = {"IncorrectKeyException", "InvalidCiphertextException"}
# How KMS begins when the key of a ciphertext is not there, or not for this caller: it does not tell which.
_HIDDEN_KEY = "The ciphertext refers to a customer master key that does not exist"
# The calls of other services that credentials are got with; every other call is one of KMS.
_LOGINS = {
    "AssumeRole": "sts",
    "AssumeRoleWithSAML": "sts",
    "AssumeRoleWithWebIdentity": "sts",
    "GetSessionToken": "sts",
    "CreateToken": "sso-oidc",
    "GetRoleCredentials": "sso",
}


class WrongUsage(ConfigError):
    """The key is not of the kind that the call, or its algorithm, is for."""


class Expired(Denied):
    """The credential was good and no longer is."""


class Forbidden(Denied):
    """The credential is good, and is not permitted this call."""


class WouldServe(BackendError):
    """A dry run would have been served."""


# What each answer about the key itself means.
_MEANINGS = {
    "DryRunOperationException": Meaning(WouldServe, "{where} would be served"),
    "NotFoundException": Meaning(
        ConfigError,
        "{where}: there is no such key ({said})",
        "check region, account and name; the ARN of a key holds all three",
    ),
    "DisabledException": Meaning(
        BackendError, "{where}: the key is disabled ({said})", "enable it: aws kms enable-key --key-id KEY"
    ),
    "KMSInvalidStateException": Meaning(
        BackendError,
        "{where}: the key cannot be used in its state ({said})",
        "if it waits for its deletion, stop that now, or all that it wrapped is lost: "
        "aws kms cancel-key-deletion --key-id KEY, then enable-key",
    ),
    "InvalidKeyUsageException": Meaning(
        WrongUsage,
        "{where}: the key is not for this ({said})",
        "an epoch key is SYMMETRIC_DEFAULT, a checkpoint key ECC_NIST_P256 or ECC_NIST_EDWARDS25519",
    ),
}
_OTHER = Meaning(BackendError, "{where} failed ({said})")


@contextmanager
def translated(subject: str) -> Iterator[None]:
    """Turn what the library raises into our errors; `subject` is the key or role that the call is about."""
    try:
        yield
    except aws.ClientError as exc:
        raise _refusal(exc, subject) from exc
    except (aws.HTTPClientError, aws.ConnectionError, aws.MetadataRetrievalError) as exc:
        # The library's two trees of network errors; ahead of OSError, which some of these are as well.
        raise _unreachable(exc, subject) from exc
    except (ResponseParserError, ValueError, RecursionError) as exc:
        # The last of them for an answer that is nested without end. Not chained: these errors may quote the
        # answer, and an answer may hold a secret.
        raise Unavailable(
            f"the answer about {subject} cannot be read ({type(exc).__name__})",
            "see whether something other than AWS answers at this endpoint",
        ) from None
    except OSError as exc:
        # The library has errors of its own for every file that it reads, but none for the token
        # of a login: so it is that one.
        raise _unreadable(exc, subject) from exc
    except aws.BotoCoreError as exc:
        # Not chained: some of these quote what a credential process printed.
        raise _unusable(exc, subject) from None


def _refusal(exc: aws.ClientError, subject: str) -> EpochsealError:
    """Our error for an error answer."""
    code = str(exc.response.get("Error", {}).get("Code", ""))
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    action = f"{_LOGINS.get(exc.operation_name, 'kms')}:{exc.operation_name}"
    where = f"{action} on {subject}"
    reason = one_line(str(exc.response.get("Error", {}).get("Message", "")))
    said = f"{code}: {reason}" if reason else code
    if code in _WRONG_KEY:
        return WrongKey(
            f"the wrapped secret was not made by {subject} for this log, epoch and previous tag, "
            "or was changed"
        )
    if code in _FORBIDDEN and reason.startswith(_HIDDEN_KEY):
        # KMS says this of a secret whose key is hidden from the caller, and also of ours where kms:Decrypt is
        # missing. WrongKey would call an honest log tampered with for want of a permission. This calls it
        # neither that nor verified: nothing is recovered. Each call names its key, and of another key's
        # secret that this caller may open, KMS says IncorrectKeyException.
        return Forbidden(
            f"this credential may not {where}, or the wrapped secret was made by another key ({said})",
            f"{_missing(action)}; if it has that permission, the header of this epoch was changed",
        )
    if code in _FORBIDDEN:
        hint = AS_VERIFIER if exc.operation_name == "Decrypt" else _missing(action)
        return Forbidden(f"this credential may not {where} ({said})", hint)
    if code in _EXPIRED or code in _UNKNOWN_CREDENTIAL:
        return _unaccepted(code, where, said)
    if code in _BUSY or status >= _SERVER_ERROR or status == _TOO_MANY:
        return Unavailable(f"{where} was not served now ({said or status})")
    return _unfit(code, where, said)


def _unaccepted(code: str, where: str, said: str) -> Denied:
    """The credential is none, or none any more."""
    if code in _EXPIRED:
        return Expired(f"the credential for {where} has expired ({said})", "log in again, or renew it")
    return Denied(
        f"the credential for {where} is not accepted ({said})",
        "check which credential is found (aws sts get-caller-identity), and this machine's clock",
    )


def _unfit(code: str, where: str, said: str) -> EpochsealError:
    """The key itself stands in the way."""
    if code == "KMSInvalidStateException" and not _LASTING_STATE.search(said):
        # A key store that is disconnected, a key that is being made or updated: it comes back by itself.
        return Unavailable(
            f"{where} was not served now ({said})", "a custom key store: aws kms describe-custom-key-stores"
        )
    return _MEANINGS.get(code, _OTHER).explain(where=where, said=said)


def _missing(action: str) -> str:
    if action == "sts:AssumeRole":
        return "let the role trust this caller, and allow this caller sts:AssumeRole on it; check external_id"
    if action == "sts:AssumeRoleWithWebIdentity":
        return (
            "let the role of AWS_ROLE_ARN trust the token's issuer, audience and subject (docs/backends.md)"
        )
    if not action.startswith("kms:"):
        return "try the same profile with aws sts get-caller-identity"
    return f"allow {action} in the key's policy, or use the role that has it (docs/aws.md)"


def _unreachable(exc: Exception, subject: str) -> Unavailable:
    where = f"AWS cannot be reached about {subject}"
    if isinstance(exc, aws.SSLError):
        return _untrusted(exc, where)
    if isinstance(exc, aws.ReadTimeoutError):
        return Unavailable(f"{where}: no answer within the time limit")
    return Unavailable(f"{where}: {one_line(str(exc))}")


def _untrusted(exc: aws.SSLError, where: str) -> Unavailable:
    """TLS failed; only a certificate that nobody vouches for is mended by another authority."""
    cause = next(iter(getattr(exc.kwargs.get("error"), "args", ())), None)
    refused = f"{where}: the server's certificate is not accepted"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Unavailable(f"{refused}: {cause.verify_message}", "name its authority with ca_file in [aws]")
    if isinstance(cause, ValueError):
        # urllib3 compares names itself, and has an error of its own for it.
        return Unavailable(f"{refused}: {one_line(str(cause))}", "name the endpoint as its certificate does")
    return Unavailable(
        f"{where}: TLS fails ({one_line(str(cause))})", "see whether this endpoint speaks https"
    )


def _unreadable(exc: OSError, subject: str) -> EpochsealError:
    what = f"no AWS credential for {subject}: {exc.filename} cannot be read ({exc.strerror})"
    if isinstance(exc, PermissionError):
        return Denied(what, "check owner and mode")
    return ConfigError(
        what, "check AWS_WEB_IDENTITY_TOKEN_FILE, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE and the profile"
    )


def _unusable(exc: aws.BotoCoreError, subject: str) -> EpochsealError:
    """What the library finds out by itself, before a call is sent."""
    kind = type(exc).__name__
    if isinstance(exc, (aws.NoCredentialsError, aws.PartialCredentialsError)):
        return Denied(
            f"no complete AWS credential was found for {subject}",
            "name a profile in [aws], or give this process a role (docs/aws.md)",
        )
    if isinstance(exc.__context__, aws.MetadataRetrievalError):
        # The library raises the same error where a credential is refused. This cause means another thing: the
        # service beside the container, which hands out credentials, did not answer.
        return Unavailable(
            f"no AWS credential could be got for {subject}: the container's service did not give one",
            "see whether AWS_CONTAINER_CREDENTIALS_FULL_URI, or the relative one, can be reached from here",
        )
    if isinstance(exc, (aws.CredentialRetrievalError, aws.TokenRetrievalError, aws.SSOError)):
        return Denied(
            f"no AWS credential could be got for {subject} ({kind})",
            "try the same profile with aws sts get-caller-identity",
        )
    return _misconfigured(exc, kind, subject)


def _misconfigured(exc: aws.BotoCoreError, kind: str, subject: str) -> ConfigError:
    if isinstance(exc, (aws.NoRegionError, aws.InvalidRegionError)):
        return ConfigError(
            f"no usable AWS region is named for {subject}", "set region in [aws], or write the ARN of the key"
        )
    if isinstance(exc, aws.ProfileNotFound):
        return ConfigError(one_line(str(exc)), "name a profile of the AWS configuration file")
    if isinstance(exc, aws.InvalidConfigError):
        return ConfigError(
            f"the AWS configuration cannot be used for {subject}: {one_line(str(exc))}",
            "check [aws] and AWS_*",
        )
    return ConfigError(f"the AWS library refuses the call about {subject} ({kind})", "check [aws] and AWS_*")
