"""What z3 says about IAM policies: an oracle outside of the product, for tests only.

The encoding is written from the specification (access.md section 4 and the AWS pages that it cites), not from the product's code:
a request is a set of free variables of z3's theories, a policy is a formula over them, and "P implies Q" holds when no request
satisfies P and not Q.

In, one JSON object per line:  {"n", "candidate", "reference", "services"?, "witness"?}  or  {"n", "policy", "requests": [{"request"}, ...]}
Out, one per line:             {"n", "seconds", "answer": "holds" | "fails" | "refused" | "unknown" | "not encoded", "request"?, "why"?}
                          or   {"n", "seconds", "outcomes": ["allowed" | "denied" | "not_allowed" | "unknown" | "not encoded: ...", ...]}

What is bounded: a key that holds several values has at most three of them. What is not encoded is said, never guessed.
"""

import datetime
import ipaddress
import json
import multiprocessing
import re
import sys
import time

import z3

TIMEOUT_MS = 5_000
# z3 looks at its clock now and then only; past this its process is ended.
KILL_AFTER_S = 20
SET_MAX = 3
BILLION = 10**9

# Keys that hold several values (service authorization reference, `ArrayOf`).
MULTIVALUED = {
    "aws:calledvia",
    "aws:principalorgpaths",
    "aws:principalservicenameslist",
    "aws:resourceorgpaths",
    "aws:sourceorgpaths",
    "aws:tagkeys",
    "aws:vpceorgpaths",
    "dynamodb:attributes",
    "dynamodb:leadingkeys",
}


class NotEncoded(Exception):
    """A part of the language that this encoding leaves out."""


# ---------------------------------------------------------------------------------------------------------------- regular languages

STRING = z3.StringSort()
ANY_CHAR = z3.AllChar(z3.ReSort(STRING))
ANYTHING = z3.Full(z3.ReSort(STRING))
NO_COLON = z3.Intersect(ANY_CHAR, z3.Complement(z3.Re(":")))


def literal(text):
    return z3.Re(z3.StringVal(text))


def concat(parts):
    parts = list(parts)
    if not parts:
        return literal("")
    return parts[0] if len(parts) == 1 else z3.Concat(*parts)


def union(parts):
    parts = list(parts)
    return parts[0] if len(parts) == 1 else z3.Union(*parts)


def upper_or_lower(char):
    pair = {char.lower(), char.upper()} if char.isascii() else {char}
    return union(literal(c) for c in sorted(pair))


# ---------------------------------------------------------------------------------------------------------------- texts of policies


def listed(value):
    return value if isinstance(value, list) else [value]


def as_text(value):
    """Numbers and booleans count as their JSON text."""
    return value if isinstance(value, str) else json.dumps(value)


def pieces(text, wildcards, variables):
    """('text', s), ('any',), ('one',), ('variable', key, default)."""
    out = []

    def add_text(s):
        if out and out[-1][0] == "text":
            out[-1] = ("text", out[-1][1] + s)
        else:
            out.append(("text", s))

    at = 0
    while at < len(text):
        found = re.match(r"\$\{([^}]*)\}", text[at:]) if variables else None
        if found:
            inside = found.group(1)
            if inside in ("*", "?", "$"):
                add_text(inside)
            else:
                key, comma, default = inside.partition(",")
                default = default.strip().strip("'") if comma else None
                out.append(("variable", key.strip().lower(), default))
            at += found.end()
        elif wildcards and text[at] == "*":
            out.append(("any",))
            at += 1
        elif wildcards and text[at] == "?":
            out.append(("one",))
            at += 1
        else:
            add_text(text[at])
            at += 1
    return out


def language(of, any_char=ANY_CHAR, fold=False):
    """The regular language of pieces without variables."""
    out = []
    for piece in of:
        if piece[0] == "text":
            out.extend(upper_or_lower(c) for c in piece[1]) if fold else out.append(literal(piece[1]))
        elif piece[0] == "any":
            out.append(z3.Star(any_char))
        else:
            out.append(any_char)
    return concat(out)


def number(text):
    """In billionths."""
    found = re.fullmatch(r"(-?)(\d{1,20})(?:\.(\d{0,9}))?", text.strip())
    if not found:
        return None
    sign, whole, fraction = found.groups()
    value = int(whole) * BILLION + int((fraction or "").ljust(9, "0"))
    return -value if sign else value


def moment(text):
    """Billionths of a second since 1970, from ISO 8601 or a number."""
    if (seconds := number(text)) is not None:
        return seconds
    try:
        when = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.timezone.utc)
    since = when - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000


def number_text(value):
    whole, fraction = divmod(abs(value), BILLION)
    tail = f".{fraction:09}".rstrip("0").rstrip(".")
    return f"{'-' if value < 0 else ''}{whole}{tail}"


# ---------------------------------------------------------------------------------------------------------------- operators


class Operator:
    """`ForAnyValue:StringNotLikeIfExists` and its like, taken apart."""

    COMPARE = {
        "equals": lambda a, b: a == b,
        "lessthan": lambda a, b: a < b,
        "lessthanequals": lambda a, b: a <= b,
        "greaterthan": lambda a, b: a > b,
        "greaterthanequals": lambda a, b: a >= b,
    }

    def __init__(self, name):
        rest = name.lower()
        self.set = None
        for prefix in ("forallvalues:", "foranyvalue:"):
            if rest.startswith(prefix):
                self.set, rest = prefix[:-1], rest[len(prefix) :]
        self.if_exists = rest.endswith("ifexists")
        rest = rest.removesuffix("ifexists")
        self.negated = "not" in rest
        rest = rest.replace("not", "")
        self.compare = None
        if rest in ("stringequals", "stringequalsignorecase", "stringlike", "bool", "null"):
            self.family = rest
        elif rest in ("arnequals", "arnlike"):
            self.family = "arn"
        elif rest == "ipaddress":
            self.family = "ip"
        elif rest.startswith("numeric") or rest.startswith("date"):
            self.family = "numeric" if rest.startswith("numeric") else "date"
            self.compare = self.COMPARE[rest.removeprefix(self.family)]
        else:
            raise NotEncoded(f"operator {name}")

    def kind(self):
        """What kind of value it reads; none for one that asks for presence only."""
        if self.family in ("numeric", "date", "ip"):
            return self.family
        return None if self.family == "null" else "text"


class Statement:
    def __init__(self, raw, variables):
        self.variables = variables
        self.allows = {"Allow": True, "Deny": False}[raw["Effect"]]
        self.principal = raw.get("Principal", raw.get("NotPrincipal"))
        self.not_principal = "NotPrincipal" in raw
        self.actions = [as_text(t) for t in listed(raw.get("Action", raw.get("NotAction")))]
        self.not_action = "NotAction" in raw
        resources = raw.get("Resource", raw.get("NotResource"))
        self.resources = None if resources is None else [as_text(t) for t in listed(resources)]
        self.not_resource = "NotResource" in raw
        self.conditions = [
            (Operator(operator), key.lower(), [as_text(v) for v in listed(values)])
            for operator, keys in raw.get("Condition", {}).items()
            for key, values in keys.items()
        ]


def read(text):
    raw = json.loads(text)
    variables = raw.get("Version") == "2012-10-17"
    return [Statement(s, variables) for s in listed(raw["Statement"])]


# ---------------------------------------------------------------------------------------------------------------- requests


class Key:
    """A condition key of the request: present with one value (or up to three), or missing."""

    def __init__(self, name, kinds, is_many, only_bool):
        if len(kinds) > 1:
            raise NotEncoded("a key read as two kinds of values")
        self.name = name
        self.kind = next(iter(kinds), "text")
        self.slots = SET_MAX if is_many else 1
        self.count = z3.Int(f"{name}#count")
        self.domain = [self.count >= 0, self.count <= self.slots]
        self.values = []
        for i in range(self.slots):
            label = f"{name}#{i}"
            if self.kind == "ip":
                value = (z3.Bool(f"{label}.v6"), z3.BitVec(f"{label}.bits", 128))
                self.domain.append(z3.Or(value[0], z3.ULE(value[1], z3.BitVecVal(2**32 - 1, 128))))
            elif self.kind in ("numeric", "date"):
                value = z3.Int(label)
            else:
                value = z3.String(label)
                if only_bool:
                    self.domain.append(z3.Or(value == z3.StringVal("true"), value == z3.StringVal("false")))
            self.values.append(value)

    def is_present(self):
        return self.count > 0

    def some(self, holds):
        return z3.Or([z3.And(self.count > i, holds(v)) for i, v in enumerate(self.values)])

    def every(self, holds):
        return z3.And([z3.Or(self.count <= i, holds(v)) for i, v in enumerate(self.values)])

    def one(self):
        """When there is exactly one value: what variables of policies stand for."""
        return self.count == 1, self.values[0]

    def equal_to(self, texts):
        """What makes this key hold these values (none of them: the key is missing)."""
        if len(texts) > self.slots:
            raise NotEncoded("more values than are encoded")
        out = [(self.count, z3.IntVal(len(texts)))]
        for value, text in zip(self.values, texts):
            if self.kind == "ip":
                address = ipaddress.ip_address(text)
                out.append((value[0], z3.BoolVal(address.version == 6)))
                out.append((value[1], z3.BitVecVal(int(address), 128)))
            elif self.kind in ("numeric", "date"):
                read_as = (number if self.kind == "numeric" else moment)(text)
                if read_as is None:
                    raise NotEncoded("a value that is no number")
                out.append((value, z3.IntVal(read_as)))
            else:
                out.append((value, z3.StringVal(text)))
        return out

    def texts_in(self, model):
        n = model.eval(self.count, model_completion=True).as_long()
        out = []
        for value in self.values[:n]:
            if self.kind == "ip":
                is_v6 = z3.is_true(model.eval(value[0], model_completion=True))
                bits = model.eval(value[1], model_completion=True).as_long()
                out.append(str(ipaddress.IPv6Address(bits) if is_v6 else ipaddress.IPv4Address(bits)))
            elif self.kind in ("numeric", "date"):
                out.append(number_text(model.eval(value, model_completion=True).as_long()))
            else:
                out.append(string_in(model, value))
        return out


class Derived:
    """A key that follows from who asks: `aws:PrincipalArn`, `aws:PrincipalAccount`."""

    kind = "text"

    def __init__(self, is_there, value):
        self.is_there, self.value = is_there, value
        self.domain = []

    def is_present(self):
        return self.is_there

    def some(self, holds):
        return z3.And(self.is_there, holds(self.value))

    def every(self, holds):
        return z3.Or(z3.Not(self.is_there), holds(self.value))

    def one(self):
        return self.is_there, self.value


def string_in(model, value):
    text = model.eval(value, model_completion=True).as_string()
    return re.sub(r"\\u\{([0-9a-fA-F]+)\}", lambda m: chr(int(m.group(1), 16)), text)


ANONYMOUS, IAM, SESSION, SERVICE, FEDERATED, CANONICAL = range(6)
KINDS = ["anonymous", "iam", "session", "service", "federated", "canonical"]


class Encoding:
    """The variables of a request to these statements, and formulas over them."""

    def __init__(self, statements, services):
        self.has_principal = any(s.principal is not None for s in statements)
        # Actions know no case: the variable is in lower case.
        self.action = z3.String("action")
        plain = z3.Intersect(NO_COLON, z3.Complement(z3.Range("A", "Z")))
        self.domain = [z3.InRe(self.action, concat([z3.Plus(plain), literal(":"), z3.Plus(plain)]))]
        self.resource = z3.String("resource")
        self.domain.append(z3.InRe(self.resource, resources(services)))
        self.who = z3.Int("who")
        # The ARN of an IAM principal, for a session that of its role.
        self.arn = z3.String("who.arn")
        self.account = z3.String("who.account")
        self.name = z3.String("who.name")
        self.needs_account = False
        self.keys = {}
        self.collect_keys(statements)
        if self.has_principal:
            self.domain += self.principal_domain()

    def principal_domain(self):
        some = z3.Plus(NO_COLON)
        before = concat([literal("arn:"), some, literal(":")])
        name = z3.Plus(ANY_CHAR)
        iam = z3.Union(
            concat([before, literal("iam::"), some, literal(":"), name]),
            concat([before, literal("sts::"), some, literal(":"), name]),
        )
        role = concat([before, literal("iam::"), some, literal(":role/"), name])
        # The account is the part of the ARN that begins behind the fourth colon.
        begin, rest = z3.String("who.before"), z3.String("who.rest")
        has_arn = z3.Or(self.who == IAM, self.who == SESSION)
        split = z3.And(
            self.arn == z3.Concat(begin, self.account, z3.StringVal(":"), rest),
            z3.InRe(begin, concat([before, z3.Union(literal("iam"), literal("sts")), literal("::")])),
            z3.InRe(self.account, some),
        )
        return [
            self.who >= 0,
            self.who < len(KINDS),
            z3.Implies(self.who == IAM, z3.InRe(self.arn, iam)),
            z3.Implies(self.who == SESSION, z3.InRe(self.arn, role)),
            z3.Implies(has_arn, split) if self.needs_account else z3.BoolVal(True),
            z3.Implies(
                z3.Not(has_arn), z3.And(self.arn == z3.StringVal(""), self.account == z3.StringVal(""))
            ),
            z3.Implies(z3.Not(z3.Or(self.who == ANONYMOUS, self.who == IAM)), z3.Length(self.name) > 0),
        ]

    def collect_keys(self, statements):
        kinds, many, other, named = {}, set(MULTIVALUED), set(), set()
        for s in statements:
            for operator, key, values in s.conditions:
                named.add(key)
                if operator.kind():
                    kinds.setdefault(key, set()).add(operator.kind())
                if operator.set:
                    many.add(key)
                if operator.family not in ("bool", "null"):
                    other.add(key)
                if operator.kind() == "text":
                    for v in values:
                        wild = operator.family in ("stringlike", "arn")
                        named.update(p[1] for p in pieces(v, wild, s.variables) if p[0] == "variable")
            for r in s.resources or []:
                named.update(p[1] for p in pieces(r, True, s.variables) if p[0] == "variable")
        for key in sorted(named):
            of = kinds.get(key, set())
            has_arn = z3.Or(self.who == IAM, self.who == SESSION)
            if self.has_principal and key == "aws:principalarn":
                # An ARN is no number, date or address.
                self.keys[key] = Derived(has_arn, self.arn)
            elif self.has_principal and key == "aws:principalaccount":
                if of - {"text"}:
                    raise NotEncoded("an account read as a number")
                self.needs_account = True
                self.keys[key] = Derived(has_arn, self.account)
            else:
                only_bool = bool(of) and key not in other
                self.keys[key] = Key(key, of, key in many, only_bool)
                self.domain += self.keys[key].domain

    # ---- who

    def names(self, value):
        """Whether `Principal` names who asks."""
        if isinstance(value, str) or isinstance(value, list):
            return z3.Or([z3.BoolVal(True) if v == "*" else self.names_aws(v) for v in listed(value)])
        out = []
        for kind, texts in value.items():
            for text in map(as_text, listed(texts)):
                if kind == "AWS":
                    out.append(z3.BoolVal(True) if text == "*" else self.names_aws(text))
                elif kind == "Service":
                    out.append(z3.And(self.who == SERVICE, self.name == z3.StringVal(text)))
                elif kind == "Federated":
                    is_named = z3.BoolVal(True) if text == "*" else self.name == z3.StringVal(text)
                    out.append(z3.And(self.who == FEDERATED, is_named))
                elif kind == "CanonicalUser":
                    out.append(z3.And(self.who == CANONICAL, self.name == z3.StringVal(text)))
                else:
                    raise NotEncoded(f"principals of kind {kind}")
        return z3.Or(out)

    def names_aws(self, text):
        has_arn = z3.Or(self.who == IAM, self.who == SESSION)
        account = text if re.fullmatch(r"[^:]+", text) else None
        if found := re.fullmatch(r"arn:[^:]+:iam::([^:]+):root", text):
            account = found.group(1)
        some = z3.Plus(NO_COLON)
        if account is not None:
            # The account and everybody in it.
            of = concat([literal("arn:"), some, literal(":"), some, literal(f"::{account}:"), ANYTHING])
            return z3.And(has_arn, z3.InRe(self.arn, of))
        out = [z3.And(has_arn, self.arn == z3.StringVal(text))]
        if found := re.fullmatch(r"arn:([^:]+):sts::([^:]+):assumed-role/([^/]+)/(.+)", text):
            partition, account, role, session = found.groups()
            path = z3.Option(concat([ANYTHING, literal("/")]))
            of = concat([literal(f"arn:{partition}:iam::{account}:role/"), path, literal(role)])
            is_session = z3.And(self.who == SESSION, self.name == z3.StringVal(session))
            out.append(z3.And(is_session, z3.InRe(self.arn, of)))
        return z3.Or(out)

    # ---- texts

    def matches(self, value, of, any_char=ANY_CHAR, fold=False):
        """Whether a text of the request is one of a pattern, whose variables are texts of the request too."""
        if all(p[0] != "variable" for p in of):
            return z3.InRe(value, language(of, any_char, fold))
        if any(p[0] == "one" for p in of) or fold:
            raise NotEncoded("a variable beside `?`, or without regard to case")
        # Each variable is its value or its default; without either the text matches nothing.
        needed, filled = [], []
        for p in of:
            if p[0] != "variable":
                filled.append(p)
                continue
            key = self.keys[p[1]]
            if key.kind != "text":
                raise NotEncoded("a variable that is no text")
            is_there, text = key.one()
            if p[2] is None:
                needed.append(is_there)
            else:
                text = z3.If(is_there, text, z3.StringVal(p[2]))
            filled.append(("value", text))
        # Pieces between the `*`, each found at the first place behind the one before: with nothing but `*` between them, the first
        # place is as good as any.
        runs, run = [], []
        for p in filled + [("any",)]:
            if p[0] == "any":
                runs.append(run)
                run = []
            else:
                run.append(z3.StringVal(p[1]) if p[0] == "text" else p[1])
        runs = [self.joined(r) for r in runs]
        if len(runs) == 1:
            return z3.And(needed + [value == runs[0]])
        first, *middle, last = runs
        holds = [z3.PrefixOf(first, value)]
        place = z3.Length(first)
        for text in middle:
            if text.eq(z3.StringVal("")):
                continue
            at = z3.IndexOf(value, text, place)
            holds.append(at >= 0)
            place = at + z3.Length(text)
        holds.append(z3.SuffixOf(last, value))
        holds.append(place + z3.Length(last) <= z3.Length(value))
        return z3.And(needed + holds)

    @staticmethod
    def joined(parts):
        if not parts:
            return z3.StringVal("")
        return parts[0] if len(parts) == 1 else z3.Concat(*parts)

    def matches_arn(self, value, of):
        """Six parts, each by itself, the last with what follows. A pattern of fewer that ends with `*` leaves the others open."""
        if any(p[0] == "variable" for p in of):
            if any(p[0] in ("any", "one") for p in of):
                raise NotEncoded("an ARN with a variable and wildcards")
            six = concat([z3.Loop(concat([z3.Star(NO_COLON), literal(":")]), 5, 5), ANYTHING])
            return z3.And(self.matches(value, of), z3.InRe(value, six))
        parts = [[]]
        for p in of:
            if p[0] != "text":
                parts[-1].append(p)
                continue
            texts = p[1].split(":")
            for i, t in enumerate(texts):
                if i > 0:
                    if len(parts) < 6:
                        parts.append([])
                    else:
                        parts[-1].append(("text", ":"))
                if t:
                    parts[-1].append(("text", t))
        if parts[-1] and parts[-1][-1] == ("any",):
            parts += [[("any",)] for _ in range(6 - len(parts))]
        if len(parts) != 6:
            return z3.BoolVal(False)
        out = []
        for i, part in enumerate(parts):
            out.append(language(part, ANY_CHAR if i == 5 else NO_COLON))
            if i < 5:
                out.append(literal(":"))
        return z3.InRe(value, concat(out))

    # ---- conditions

    def meets(self, operator, value, text, variables, key):
        """Whether one value of the request meets one of the policy, without negation."""
        if operator.kind() != "text" and isinstance(key, Derived):
            return z3.BoolVal(False)
        if operator.family in ("numeric", "date"):
            other = (number if operator.family == "numeric" else moment)(text)
            return z3.BoolVal(False) if other is None else operator.compare(value, z3.IntVal(other))
        if operator.family == "ip":
            try:
                network = ipaddress.ip_network(text, strict=False)
            except ValueError:
                return z3.BoolVal(False)
            width = 32 if network.version == 4 else 128
            same = z3.BoolVal(True)
            if network.prefixlen > 0:
                low = width - network.prefixlen
                base = z3.BitVecVal(int(network.network_address), 128)
                same = z3.LShR(value[1], low) == z3.LShR(base, low)
            return z3.And(value[0] == z3.BoolVal(network.version == 6), same)
        of = pieces(text, operator.family in ("stringlike", "arn"), variables)
        if operator.family == "arn":
            return self.matches_arn(value, of)
        return self.matches(value, of, fold=operator.family in ("stringequalsignorecase", "bool"))

    def holds(self, statement, operator, name, texts):
        key = self.keys[name]
        if operator.family == "null":
            wanted = [t.lower() for t in texts]
            absent = z3.And(z3.BoolVal("true" in wanted), z3.Not(key.is_present()))
            return z3.Or(absent, z3.And(z3.BoolVal("false" in wanted), key.is_present()))

        def is_met(value):
            return z3.Or([self.meets(operator, value, t, statement.variables, key) for t in texts])

        def counts(value):
            return z3.Not(is_met(value)) if operator.negated else is_met(value)

        if operator.set == "forallvalues":
            return key.every(counts)
        if operator.set == "foranyvalue":
            return key.some(counts)
        if operator.negated:
            return z3.Not(key.some(is_met))
        if operator.if_exists:
            return z3.Or(z3.Not(key.is_present()), key.some(is_met))
        return key.some(is_met)

    # ---- policies

    def applies(self, s):
        out = []
        if s.principal is not None:
            out.append(z3.Not(self.names(s.principal)) if s.not_principal else self.names(s.principal))
        of = z3.Or([z3.InRe(self.action, language(pieces(a.lower(), True, False))) for a in s.actions])
        out.append(z3.Not(of) if s.not_action else of)
        if s.resources is not None:
            of = z3.Or([self.matches(self.resource, pieces(r, True, s.variables)) for r in s.resources])
            out.append(z3.Not(of) if s.not_resource else of)
        out += [self.holds(s, *condition) for condition in s.conditions]
        return z3.And(out)

    def decision(self, statements):
        """(allowed, denied)"""
        denied = z3.Or([self.applies(s) for s in statements if not s.allows])
        some = z3.Or([self.applies(s) for s in statements if s.allows])
        return z3.And(some, z3.Not(denied)), denied

    # ---- between formulas and requests

    def request_in(self, model):
        principal = None
        if self.has_principal:
            kind = model.eval(self.who, model_completion=True).as_long()
            arn, name = string_in(model, self.arn), string_in(model, self.name)
            value = {IAM: arn, SESSION: {"role": arn, "name": name}}.get(kind, name)
            principal = {"kind": KINDS[kind]} if kind == ANONYMOUS else {"kind": KINDS[kind], "value": value}
        context = {}
        for name, key in self.keys.items():
            if isinstance(key, Derived):
                if z3.is_true(model.eval(key.is_there, model_completion=True)):
                    context[name] = [string_in(model, key.value)]
            elif texts := key.texts_in(model):
                context[name] = texts
        return {
            "principal": principal,
            "action": string_in(model, self.action),
            "resource": string_in(model, self.resource),
            "context": context,
        }

    def values_of(self, request):
        """The variables of this request with their values."""
        out = [
            (self.action, z3.StringVal(request["action"].lower())),
            (self.resource, z3.StringVal(request["resource"])),
        ]
        if self.has_principal:
            who = request["principal"]
            kind, value = KINDS.index(who["kind"]), who.get("value", "")
            arn = value if kind == IAM else value["role"] if kind == SESSION else ""
            name = value["name"] if kind == SESSION else "" if kind in (ANONYMOUS, IAM) else value
            account = arn.split(":")[4] if arn else ""
            out += [(self.who, z3.IntVal(kind)), (self.arn, z3.StringVal(arn))]
            out += [(self.name, z3.StringVal(name)), (self.account, z3.StringVal(account))]
        for name, key in self.keys.items():
            if not isinstance(key, Derived):
                out += key.equal_to(request["context"].get(name, []))
        return out


def resources(services):
    """The ARNs of the domain, and `*`. `services`: for each service that the case names, what the last part of its ARNs may be:
    texts in which `S` is one character that is no colon, `M` any number of those, `s` and `m` the same with colons."""
    some, more = z3.Plus(NO_COLON), z3.Star(NO_COLON)
    words = {"S": NO_COLON, "M": more, "s": ANY_CHAR, "m": ANYTHING}
    out = [literal("*")]
    for service, shapes in services.items():
        last = union(
            concat(words[p["is"]] if "is" in p else literal(p["text"]) for p in shape) for shape in shapes
        )
        out.append(concat([literal("arn:"), some, literal(f":{service}:"), more, literal(":"), more, literal(":"), last]))
    # Any other service: up to two colons in the last part.
    other = z3.Intersect(some, *[z3.Complement(literal(s)) for s in services]) if services else some
    colon = concat([literal(":"), more])
    last = concat([some, z3.Option(concat([colon, z3.Option(colon)]))])
    out.append(concat([literal("arn:"), some, literal(":"), other, literal(":"), more, literal(":"), more, literal(":"), last]))
    return union(out)


# ---------------------------------------------------------------------------------------------------------------- questions


def implication(case):
    candidate, reference = read(case["candidate"]), read(case["reference"])
    encoding = Encoding(candidate + reference, case.get("services", {}))
    decisions = encoding.decision(candidate), encoding.decision(reference)
    difference = [*encoding.domain, decisions[0][0], z3.Not(decisions[1][0])]
    if (given := case.get("witness")) and not (encoding.has_principal and given["principal"] is None):
        said = [outcome(encoding, of, given) for of in decisions]
        if said == ["allowed", "allowed"] or said[0] in ("denied", "not_allowed"):
            return {"answer": "refused", "why": f"candidate: {said[0]}, reference: {said[1]}"}
        if is_met(encoding, difference, given):
            return {"answer": "fails", "by": "the request that was given"}
    solver = z3.Solver()
    solver.set("timeout", TIMEOUT_MS)
    solver.add(difference)
    found = solver.check()
    if found == z3.unsat:
        return {"answer": "holds"}
    if found == z3.sat:
        return {"answer": "fails", "request": encoding.request_in(solver.model())}
    return {"answer": "unknown", "why": solver.reason_unknown()}


def is_met(encoding, difference, request):
    """Whether a given request lies in the domain and is judged differently: then there is no need to look for another."""
    try:
        solver = z3.Solver()
        solver.set("timeout", TIMEOUT_MS)
        solver.add([variable == value for variable, value in encoding.values_of(request)])
        solver.add(difference)
        return solver.check() == z3.sat
    except NotEncoded:
        return False


def outcomes(case):
    statements = read(case["policy"])
    encoding = Encoding(statements, {})
    allowed, denied = encoding.decision(statements)
    return {"outcomes": [outcome(encoding, (allowed, denied), r["request"]) for r in case["requests"]]}


def outcome(encoding, decision, request):
    try:
        values = encoding.values_of(request)
    except NotEncoded as e:
        return f"not encoded: {e}"
    decided = []
    for formula in reversed(decision):
        simple = z3.simplify(z3.substitute(formula, *values))
        if not (z3.is_true(simple) or z3.is_false(simple)):
            solver = z3.Solver()
            solver.set("timeout", TIMEOUT_MS)
            solver.add(simple)
            found = solver.check()
            if found == z3.unknown:
                return "unknown"
            decided.append(found == z3.sat)
        else:
            decided.append(z3.is_true(simple))
    return "denied" if decided[0] else "allowed" if decided[1] else "not_allowed"


def answer(case):
    started = time.perf_counter()
    try:
        out = implication(case) if "candidate" in case else outcomes(case)
    except NotEncoded as e:
        out = {"answer": "not encoded", "why": str(e)}
    # Encoding and solving; the process was there before.
    return {**out, "seconds": round(time.perf_counter() - started, 6)}


def work(pipe):
    while (case := pipe.recv()) is not None:
        pipe.send(answer(case))


def started():
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=work, args=(theirs,), daemon=True)
    process.start()
    return process, ours


def main():
    if sys.argv[1:] == ["--version"]:
        print(z3.get_version_string())
        return
    process, pipe = started()
    for line in sys.stdin:
        case = json.loads(line)
        pipe.send(case)
        # A line of requests may hold many of them.
        if pipe.poll(KILL_AFTER_S + len(case.get("requests", []))):
            out = pipe.recv()
        else:
            process.kill()
            process, pipe = started()
            out = {"answer": "unknown", "why": "ended after the timeout", "seconds": KILL_AFTER_S}
        print(json.dumps({"n": case["n"], **out}), flush=True)
    pipe.send(None)


if __name__ == "__main__":
    main()
