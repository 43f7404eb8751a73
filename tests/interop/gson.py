"""JSON the way Gson and CloudStack's adapters read and write it (section 3.1).

A body is an array of one-key objects, the key being a Java class name. The table
at the end says which classes there are, which fields they have, and which of them
are created without running a constructor, so that absent fields stay null.
"""

import json
import re
from dataclasses import dataclass, field

API = "com.cloud.agent.api."
LB = "org.apache.cloudstack.agent.lb."
CA = "org.apache.cloudstack.ca."


class JsonError(ValueError):
    """Malformed even for the lenient reader, or a value of the wrong type."""


class ObjectsLost(Exception):
    """Java throws while making objects of a body: the whole message is lost."""


# --- text to values ---------------------------------------------------------

_SKIP = re.compile(r"(?:[ \t\r\n]+|//[^\r\n]*|#[^\r\n]*|/\*.*?\*/)*", re.S)
_LITERAL = re.compile(r"[^{}\[\]:,;=#/\\\s]+")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z")
_STRING = {quote: re.compile(rf"{quote}((?:[^{quote}\\]|\\.)*){quote}", re.S) for quote in "\"'"}
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "b": "\b", "f": "\f"}


def loads(text):
    """Lenient like Gson: trailing text, NULs, comments, single quotes, bare names."""
    try:
        return json.JSONDecoder(strict=False).raw_decode(text.lstrip(" \t\r\n"))[0]
    except (ValueError, RecursionError):
        return _Lenient(text).value()


class _Lenient:
    """The slow reader for what the json module refuses; it keeps its own stack,
    because a field nested 20000 deep is no error for the Java reader."""

    def __init__(self, text):
        self.text = text
        self.at = 0

    def value(self):
        stack = []  # of (container, name of the member being read)
        done = self._scalar_or_open(stack)
        while stack:
            container, name = stack[-1]
            if done is not _OPENED:
                if isinstance(container, list):
                    container.append(done)
                else:
                    container[name] = done
                if self._peek() in (",", ";"):
                    self.at += 1
                elif self._peek() not in ("]", "}"):
                    raise JsonError(f"unterminated at {self.at}")
            done = self._next_member(stack)
        return done

    def _next_member(self, stack):
        container, _ = stack[-1]
        if self._peek() == ("]" if isinstance(container, list) else "}"):
            self.at += 1
            stack.pop()
            return container
        if isinstance(container, dict):
            name = self._scalar()
            if self._peek() not in (":", "="):
                raise JsonError(f"no value for a name at {self.at}")
            self.at += 1
            stack[-1] = (container, str(name))
        return self._scalar_or_open(stack)

    def _scalar_or_open(self, stack):
        if (char := self._peek()) in ("[", "{"):
            self.at += 1
            stack.append(([] if char == "[" else {}, None))
            return _OPENED
        return self._scalar()

    def _peek(self):
        self.at = _SKIP.match(self.text, self.at).end()
        return self.text[self.at:self.at + 1]

    def _scalar(self):
        char = self._peek()
        pattern = _STRING.get(char, _LITERAL)
        match = pattern.match(self.text, self.at)
        if not match:
            raise JsonError(f"unterminated string or no value at {self.at}")
        self.at = match.end()
        return _unquote(match.group(1)) if char in _STRING else _bare(match.group())


_OPENED = object()


def _unquote(text):
    def one(match):
        code = match.group(1)
        return chr(int(code[1:], 16)) if len(code) == 5 else _ESCAPES.get(code, code)

    plain = re.sub(r"\\(u[0-9a-fA-F]{4}|.)", one, text, flags=re.S)
    return plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _bare(word):
    known = {"true": True, "false": False, "null": None}
    if word in known:
        return known[word]
    return json.loads(word) if _NUMBER.match(word) else word


# --- values to text ---------------------------------------------------------

_HTML = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&='\u2028\u2029"})


def dumps(value):
    """The text that Gson writes: HTML characters escaped, other non-ASCII raw."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{dumps(k)}:{dumps(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(dumps, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).translate(_HTML)
    if isinstance(value, float):
        return _java_double(value)
    return json.dumps(value)


def _java_double(value):
    """Double.toString: plain between 1e-3 and 1e7, else d.dddEn."""
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    mantissa, exponent = re.fullmatch(r"(.*)e(.*)", f"{value:.17e}").groups()
    for digits in range(1, 18):
        mantissa = f"{value:.{digits}e}".split("e")[0]
        if float(f"{mantissa}e{exponent}") == value:
            break
    return f"{mantissa}E{int(exponent)}"


# --- values to objects ------------------------------------------------------

@dataclass
class Item:
    """A command or answer: its class, its fields as Java would hold them, the raw JSON."""

    name: str
    fields: dict
    raw: object = field(default_factory=dict)

    @property
    def short(self):
        return self.name.rsplit(".", 1)[-1]

    def get(self, key, default=None):
        """null and absent are the same to a caller."""
        value = self.fields.get(key)
        return default if value is None else value

    @property
    def java_class(self):
        return CLASSES.get(self.name)


def bad_command(raw=None):
    return Item(API + "BadCommand", {"contextMap": {}}, raw)


def read_commands(content):
    """The commands of a request; one BadCommand for what Gson refuses; None for `null`."""
    try:
        return _read(content)
    except JsonError as error:
        return [bad_command(str(error))]


def read_answers(content):
    """The answers of a response. A response has no BadCommand: it is lost."""
    try:
        items = _read(content)
    except JsonError as error:
        raise ObjectsLost(str(error)) from error
    for item in items or []:
        if item and not item.java_class.is_answer:
            raise ObjectsLost(f"{item.name} is not an Answer")
    return items


def _read(content):
    text = content.decode("utf-8", "replace")
    value = loads(text) if text else None
    if value is None:
        return None
    if not isinstance(value, list):
        raise JsonError("not an array")
    return [_read_element(element) for element in value]


def _read_element(element):
    if not isinstance(element, dict) or not element:
        raise ObjectsLost("an element that is null, empty or no object")
    name, raw = next(iter(element.items()))
    java_class = CLASSES.get(name)
    if java_class is None:
        if name.startswith("java."):
            raise ObjectsLost(f"{name} is not a Command")
        raise JsonError(f"can't find {name}")
    return None if raw is None else Item(name, java_class.read(raw), raw)


def _convert(value, kind):
    """Gson's conversions: numbers from text, text from numbers, nothing from objects."""
    if kind in ("int", "long", "double"):
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise JsonError(f"{value!r} is not a number")
        return _number(value, kind)
    if kind == "bool":
        if isinstance(value, str):
            return value.lower() == "true"
        if not isinstance(value, bool):
            raise JsonError(f"{value!r} is not a boolean")
        return value
    if kind in ("string", "hypervisor"):
        if isinstance(value, (dict, list)):
            raise JsonError(f"{type(value).__name__} is not a string")
        text = value if isinstance(value, str) else dumps(value)
        if kind == "hypervisor" and text.lower() not in _HYPERVISORS:
            raise ObjectsLost(f"unknown hypervisor {text}")
        return text
    if kind in ("list", "strings"):
        if not isinstance(value, list):
            raise JsonError("not an array")
        return [_convert(v, "string") for v in value if v is not None] if kind == "strings" else value
    if kind == "map":
        if not isinstance(value, dict):
            raise JsonError("not an object")
        return value
    raise AssertionError(kind)


def _number(value, kind):
    try:
        number = float(value) if kind == "double" else int(value)
    except ValueError:
        try:
            number = float(value)
        except ValueError as error:
            raise JsonError(f"{value!r} is not a number") from error
    if kind != "double" and number != float(value):
        raise JsonError(f"{value!r} is not whole")
    return number if kind == "double" else int(number)


_HYPERVISORS = {"kvm", "lxc", "vmware", "xenserver"}
_DEFAULTS = {"int": 0, "long": None, "double": 0.0, "bool": False}


# --- the classes ------------------------------------------------------------

class JavaClass:
    def __init__(self, kinds, *, is_answer, bare, in_sequence, cron):
        self.kinds = kinds
        self.is_answer = is_answer
        self.bare = bare  # no no-argument constructor: absent fields stay null
        self.in_sequence = in_sequence
        self.cron = cron

    def read(self, raw):
        if not isinstance(raw, dict):
            raise JsonError("not an object")
        fields = self._fresh()
        for key, value in raw.items():
            kind = self.kinds.get(key)
            if kind is None:  # unknown fields are ignored
                continue
            if value is not None:
                fields[key] = _convert(value, kind)
            elif kind not in ("int", "bool"):
                fields[key] = None  # null is accepted for objects, ignored for primitives
        return fields

    def _fresh(self):
        fields = {"wait": 0, "bypassHostMaintenance": False}
        if not self.bare:
            fields["contextMap"] = {}
        if self.is_answer:
            fields["result"] = not self.bare
        return fields


_COMMAND = "contextMap:map wait:int bypassHostMaintenance:bool externalDetails:map"
_ANSWER = "result:bool details:string " + _COMMAND
CLASSES = {}


def _kinds(spec):
    return dict(pair.split(":") for pair in spec.split())


def _define(names, spec, base, **marks):
    options = {"is_answer": base is _ANSWER, "bare": False, "in_sequence": False, "cron": False}
    for name in names.split():
        CLASSES[name] = JavaClass(_kinds(f"{spec} {base}"), **{**options, **marks})


def _commands(names, spec="", package=API, **marks):
    _define(" ".join(package + n for n in names.split()), spec, _COMMAND, **marks)


def _answers(names, spec="", package=API, **marks):
    _define(" ".join(package + n for n in names.split()), spec, _ANSWER, **marks)


_STARTUP = """type:string dataCenter:string pod:string cluster:string guid:string name:string id:long
    version:string iqn:string publicIpAddress:string publicNetmask:string publicMacAddress:string
    privateIpAddress:string privateMacAddress:string privateNetmask:string storageIpAddress:string
    storageNetmask:string storageMacAddress:string storageIpAddressDeux:string
    storageMacAddressDeux:string storageNetmaskDeux:string agentTag:string resourceName:string
    gatewayIpAddress:string msHostList:string connectionTransferred:bool arch:string """
_PING = "hostType:string hostId:long outOfBand:bool commandInfos:list "
_PING_ROUTING = _PING + """_hostVmStateReport:map _gatewayAccessible:bool _vnetAccessible:bool
    hostHealthCheckResult:bool newGroupStates:map states:list """
_NETWORK_ELEMENT = "accessDetails:map routerAccessIp:string "
_LB = "msList:strings avoidMsList:strings lbAlgorithm:string lbCheckInterval:long "

_commands("StartupCommand", _STARTUP)
_commands("StartupRoutingCommand", _STARTUP + """cpuSockets:int cpus:int speed:long cpuArch:string
    memory:long dom0MinMemory:long poolSync:bool supportsClonedVolumes:bool caps:string pool:string
    hypervisorType:hypervisor hostDetails:map hostTags:strings hypervisorVersion:string
    groupDetails:map gpuDevices:list hostHealthCheckResult:bool""")
_commands("StartupStorageCommand", _STARTUP + """parent:string templateInfo:map totalSize:long
    poolInfo:map resourceType:string fsType:string hostDetails:map nfsShare:string""")
_commands("StartupProxyCommand", _STARTUP + "proxyPort:int proxyVmId:long", in_sequence=True)
_commands("StartupSecondaryStorageCommand", _STARTUP, in_sequence=True)
_answers("StartupAnswer", "hostId:long hostUuid:string hostName:string pingInterval:int")
_commands("ReadyCommand", """_details:string dcId:long hostId:long hostUuid:string hostName:string
    msHostList:strings avoidMsHostList:strings lbAlgorithm:string lbCheckInterval:long
    enableHumanReadableSizes:bool arch:string""", in_sequence=True)
_answers("ReadyAnswer", "detailsMap:map")
_commands("SetupMSListCommand", _LB + "triggerHostLb:bool", LB, bare=True)
_answers("SetupMSListAnswer", package=LB, bare=True)
_commands("MigrateAgentConnectionCommand", _LB)
_answers("MigrateAgentConnectionAnswer")
_commands("PingCommand", _PING)
_commands("PingRoutingCommand PingRoutingWithNwGroupsCommand PingRoutingWithOvsCommand", _PING_ROUTING)
_commands("PingStorageCommand", _PING + "changes:map")
_answers("PingAnswer", "_command:map sendStartup:bool avoidMsList:strings reconcileCommands:strings")
_commands("ShutdownCommand", "reason:string detail:string removeHost:bool", in_sequence=True)
_commands("MaintainCommand", in_sequence=True)
_answers("MaintainAnswer", "willMigrate:bool")
_commands("CheckHealthCommand BadCommand")
_answers("Answer CheckHealthAnswer UnsupportedAnswer AgentControlAnswer")
_commands("GetHostStatsCommand", "hostGuid:string hostName:string hostId:long")
_answers("GetHostStatsAnswer", "hostStats:map")
_commands("PingTestCommand", "_computingHostIp:string _routerIp:string _privateIp:string")
_commands("SetHostParamsCommand", "params:map", in_sequence=True)
_commands("ModifySshKeysCommand", "_pubKey:string _prvKey:string")
_commands("CheckNetworkCommand", "networkInfoList:list", in_sequence=True)
_answers("CheckNetworkAnswer", "_reconnect:bool")
_commands("CleanupNetworkRulesCmd", "interval:int", cron=True)
_commands("proxy.WatchConsoleProxyLoadCommand", "interval:int", cron=True)
_commands("AgentControlCommand ConsoleAccessAuthenticationCommand ConsoleProxyLoadReportCommand")
_commands("CancelCommand", "sequence:long reason:string")
_commands("SetupKeyStoreCommand", _NETWORK_ELEMENT +
          "validityDays:int keystorePassword:string handleByAgent:bool", CA, bare=True)
_answers("SetupKeystoreAnswer", "csr:string", CA, bare=True)
_commands("SetupCertificateCommand", _NETWORK_ELEMENT +
          "certificate:string privateKey:string caCertificates:string handleByAgent:bool", CA, bare=True)
_answers("SetupCertificateAnswer", package=CA, bare=True)

CONTROL_COMMANDS = {API + n for n in ("AgentControlCommand", "ConsoleAccessAuthenticationCommand",
                                      "ConsoleProxyLoadReportCommand")}


# --- making items -----------------------------------------------------------

def make(class_name, wait=0, /, **fields):
    """A command as Java would write it: null fields left out, the base fields last."""
    raw = {k: v for k, v in fields.items() if v is not None}
    raw.update(contextMap={}, wait=wait, bypassHostMaintenance=False)
    return Item(class_name, CLASSES[class_name].read(raw), raw)


def answer(class_name, result=True, details=None, /, **fields):
    return make(class_name, **fields, result=result, details=details)


def plain_answer(result=True, details=None):
    return answer(API + "Answer", result, details)


def item_from_raw(element):
    """An item from test input, not checked, so that a test can send what is wrong."""
    name, raw = next(iter(element.items()))
    return Item(name, {}, raw)


def content_of(items):
    return dumps([{item.name: item.raw} for item in items]).encode()
