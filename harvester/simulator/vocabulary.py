"""The words that generated organizations and findings are made of."""
# ruff: noqa: RUF001  # other scripts, and what looks like something else in them, are the point

from __future__ import annotations

from typing import Final

#: The regions of each partition, so that DescribeRegions can also name those not enabled.
REGIONS: Final[dict[str, tuple[str, ...]]] = {
    "aws": (
        "af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2",
        "ap-northeast-3", "ap-south-1", "ap-south-2", "ap-southeast-1", "ap-southeast-2",
        "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7",
        "ca-central-1", "ca-west-1", "eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1",
        "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3", "il-central-1", "me-central-1",
        "me-south-1", "mx-central-1", "sa-east-1", "us-east-1", "us-east-2", "us-west-1",
        "us-west-2",
    ),
    "aws-cn": ("cn-north-1", "cn-northwest-1"),
    "aws-us-gov": ("us-gov-east-1", "us-gov-west-1"),
}  # fmt: skip

#: Regions that an account has to opt in to.
OPT_IN_REGIONS: Final = frozenset(
    {
        "af-south-1", "ap-east-1", "ap-east-2", "ap-south-2", "ap-southeast-3", "ap-southeast-4",
        "ap-southeast-5", "ap-southeast-6", "ap-southeast-7", "ca-west-1", "eu-central-2",
        "eu-south-1", "eu-south-2", "il-central-1", "me-central-1", "me-south-1", "mx-central-1",
    }
)  # fmt: skip

TEAMS: Final = (
    "payments", "storefront", "search", "logistics", "identity", "data-lake", "ml-platform",
    "mobile-api", "billing", "notifications", "risk", "catalogue", "café-pos", "warehouse",
)  # fmt: skip
STAGES: Final = ("Production", "Staging", "Development")

IMAGE_NAMES: Final = (
    "golden-al2023", "golden-ubuntu-2204", "web-base", "batch-worker", "eks-node", "bastion",
    "gpu-training", "ci-runner", "java-17-runtime", "python-311-runtime", "windows-2022-core",
    "nginx-edge", "legacy-centos7", "db-proxy",
)  # fmt: skip

#: Name, package manager, an installed version, a release, a version with the fix.
PACKAGES: Final = (
    ("openssl", "OS", "3.0.8", "1.amzn2023.0.11", "3.0.8-1.amzn2023.0.14"),
    ("openssl-libs", "OS", "3.0.8", "1.amzn2023.0.11", "3.0.8-1.amzn2023.0.14"),
    ("glibc", "OS", "2.34", "52.amzn2023.0.10", "2.34-117.amzn2023.0.1"),
    ("kernel", "OS", "6.1.109", "118.189.amzn2023", "6.1.119-129.201.amzn2023"),
    ("curl", "OS", "8.5.0", "1.amzn2023.0.4", "8.5.0-1.amzn2023.0.5"),
    ("libxml2", "OS", "2.10.4", "1.amzn2023.0.6", "2.10.4-1.amzn2023.0.8"),
    ("expat", "OS", "2.5.0", "1.amzn2023.0.4", "2.6.3-1.amzn2023.0.1"),
    ("sudo", "OS", "1.9.15", "1.p5.amzn2023.0.1", "1.9.17-1.p1.amzn2023.0.1"),
    ("vim-minimal", "OS", "9.0.2153", "1.amzn2023.0.1", "9.1.1000-1.amzn2023"),
    ("systemd", "OS", "252.16", "1.amzn2023.0.2", "252.23-2.amzn2023"),
    ("bind-libs", "OS", "9.16.48", "1.amzn2023.0.1", "9.18.28-1.amzn2023.0.1"),
    ("python3.9", "OS", "3.9.16", "1.amzn2023.0.8", "3.9.20-1.amzn2023.0.2"),
    ("log4j-core", "JAR", "2.14.1", "", "2.17.1"),
    ("spring-web", "JAR", "5.3.20", "", "5.3.39"),
    ("jackson-databind", "JAR", "2.12.3", "", "2.13.4.2"),
    ("snakeyaml", "JAR", "1.29", "", "2.0"),
    ("requests", "PYTHONPKG", "2.28.1", "", "2.31.0"),
    ("urllib3", "PYTHONPKG", "1.26.12", "", "1.26.19"),
    ("cryptography", "PYTHONPKG", "38.0.4", "", "42.0.4"),
    ("jinja2", "PYTHONPKG", "3.0.3", "", "3.1.6"),
    ("setuptools", "PYTHONPKG", "59.6.0", "", "78.1.1"),
    ("lodash", "NODEPKG", "4.17.15", "", "4.17.21"),
    ("express", "NODEPKG", "4.17.1", "", "4.20.0"),
    ("ws", "NODEPKG", "7.4.2", "", "7.5.10"),
    ("golang.org/x/net", "GOBINARY", "v0.7.0", "", "0.23.0"),
    ("stdlib", "GOBINARY", "1.20.3", "", "1.21.11"),
)  # fmt: skip

WEAKNESSES: Final = (
    "heap-based buffer overflow", "use after free", "out-of-bounds read", "integer overflow",
    "NULL pointer dereference", "uncontrolled resource consumption", "path traversal",
    "improper certificate validation", "deserialization of untrusted data", "race condition",
    "server-side request forgery", "HTTP request smuggling", "prototype pollution",
)  # fmt: skip

SENTENCES: Final = (
    "A flaw was found in {package}: a {weakness} in the way that it handles crafted input.",
    "An unauthenticated attacker who can reach the service may crash it or, in rare configurations, execute code with the privileges of the process.",
    'The function parse_header() trusts a length field, so that a request such as "GET /%00" reads past the end of its buffer.',
    "Versions before {fixed} are affected; distributions may have backported the fix under an earlier version number.",
    "Exploitation requires that the attacker controls both the name and the value of an attribute, which limits the impact in default installations.",
    "As a workaround the feature can be turned off; restarting the service is required for the change to take effect.",
    "The highest threat from this vulnerability is to system availability.",
    "This issue was introduced by an incomplete fix for an earlier report and affects 32-bit and 64-bit builds alike.",
    "In the Linux kernel, the following has been resolved: the reference that was taken on the error path is now dropped exactly once.\n\nCall Trace:\n <TASK>\n  dump_stack_lvl+0x45/0x5b\n </TASK>",
)  # fmt: skip

#: Descriptions as they arrive from elsewhere: other scripts, and characters that a terminal obeys.
FOREIGN_SENTENCES: Final = (
    "{package} に{weakness}の脆弱性があり、細工された入力によりサービスが停止する可能性があります。",
    "توجد ثغرة في {package} تسمح للمهاجم بتعطيل الخدمة عن بُعد.",
    "Une vulnérabilité a été découverte dans « {package} » : élévation de privilèges possible, même à l’étranger.",
    "🔥 Proof of concept: 👩‍💻 → {package} → 💥 (see \"quotes\", 'apostrophes' and a back\\slash).",
    "Eine Schwachstelle in {package} erlaubt es, Speicher über die Grenze hinaus zu lesen; größere Schäden sind möglich.",
    "В библиотеке {package} обнаружена уязвимость, позволяющая раскрыть содержимое памяти.",
    "The log line \u001b[31mFAILED\u001b[0m\u0007 can be forged, and \u001b]0;owned\u0007 sets the title of a terminal.",
    "Bidirectional text \u202egnp.exe\u202c and separators\u2028in the\u2029middle, a tab\there, a bell\u0007, a C1 \u009b31m.",
    "{package} 存在安全漏洞，攻击者可借此导致拒绝服务。",
)  # fmt: skip

#: Severity, its share of vulnerabilities, and the range of scores that goes with it.
SEVERITIES: Final = (
    ("CRITICAL", 0.04, (9.0, 10.0)),
    ("HIGH", 0.20, (7.0, 8.9)),
    ("MEDIUM", 0.46, (4.0, 6.9)),
    ("LOW", 0.18, (0.1, 3.9)),
    ("INFORMATIONAL", 0.04, (0.0, 0.0)),
    ("UNTRIAGED", 0.08, (0.0, 0.0)),
)

SOURCES: Final = (
    ("NVD", "https://nvd.nist.gov/vuln/detail/"),
    ("AMAZON_LINUX_2023", "https://alas.aws.amazon.com/cve/html/"),
    ("UBUNTU_CVE", "https://people.canonical.com/~ubuntu-security/cve/"),
    ("GITHUB", "https://github.com/advisories?query="),
)

REFERENCES: Final = (
    "https://lists.debian.org/debian-lts-announce/2025/01/msg00017.html",
    "https://security.netapp.com/advisory/ntap-20250117-0007/",
    "https://www.openwall.com/lists/oss-security/2025/02/11/4",
    "https://access.redhat.com/errata/RHSA-2025:1346",
    "https://ubuntu.com/security/notices/USN-7241-1",
    "https://example.com/avis/sécurité?langue=fr&page=1",
)
