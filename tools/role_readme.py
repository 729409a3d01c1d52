"""Writes the README of roles from their argument_specs: tools/role_readme.py [--check] ROLE..."""

import json
import re
import sys
from pathlib import Path

import yaml

ROLES = Path(__file__).resolve().parent.parent / "roles"


def plain(text: object) -> str:
    """Ansible's markup as Markdown: C(code), V(value), O(option), M(module)."""
    return re.sub(r"\b[CVOM]\(((?:[^()]|\([^()]*\))*)\)", r"`\1`", " ".join(str(text).split()))


def sentences(value: object) -> list[str]:
    """A description: one text or several."""
    return [plain(each) for each in (value if isinstance(value, list) else [value])]


def cell(text: str) -> str:
    """Text in a table."""
    return text.replace("|", "\\|")


def readme(role: str, specs: dict) -> str:
    """The README of a role."""
    main = specs.get("main") or next(iter(specs.values()))
    out = [f"# {role}", "", f"{plain(main['short_description'])}.", ""]
    out += [f"{line}\n" for line in sentences(main.get("description", []))]
    readers: dict[str, list[str]] = {}
    options: dict[str, dict] = {}
    for entry, spec in specs.items():
        for name, option in spec.get("options", {}).items():
            options[name] = option
            readers.setdefault(name, []).append(entry)
    several = len(specs) > 1
    out += ["## Variables", "", f"| name | type | default | what |{' read by |' if several else ''}"]
    out += [f"|---|---|---|---|{'---|' if several else ''}"]
    for name, option in sorted(options.items()):
        kind = option.get("type", "str") + (f" of {option['elements']}" if "elements" in option else "")
        what = " ".join(sentences(option.get("description", "")))
        if "choices" in option:
            what += " One of " + ", ".join(f"`{json.dumps(choice)}`" for choice in option["choices"]) + "."
        default = "required" if option.get("required") else ""
        if "default" in option:
            default = f"`{json.dumps(option['default'])}`"
        by = f" {', '.join(readers[name])} |" if several else ""
        out.append(f"| `{name}` | {kind} | {cell(default)} | {cell(what)} |{by}")
    others = {name: spec for name, spec in specs.items() if spec is not main}
    if others:
        out += ["", "## Other entry points", ""]
        for name, spec in others.items():
            told = " ".join([f"{plain(spec['short_description'])}.", *sentences(spec.get("description", []))])
            out.append(f"- `tasks_from: {name}.yml`: {told}")
    return "\n".join(out) + "\n\nGenerated from `meta/argument_specs.yml` by `tools/role_readme.py`.\n"


def text(role: str) -> str:
    """The README that a role of this checkout should have."""
    specs = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    return readme(role, specs)


def main(words: list[str]) -> int:
    """Write the READMEs, or say which are stale."""
    check = "--check" in words
    roles = [word for word in words if word != "--check"]
    if unknown := [role for role in roles if not (ROLES / role).is_dir()] or not roles:
        print(f"tools/role_readme.py: name roles of {ROLES.name}/, not {unknown if roles else 'none'}", file=sys.stderr)
        return 2
    stale = []
    for role in roles:
        path = ROLES / role / "README.md"
        if not path.exists() or path.read_text() != text(role):
            stale.append(role)
            if not check:
                path.write_text(text(role))
    if check and stale:
        print(f"stale: {', '.join(stale)}; write them anew: tools/role_readme.py {' '.join(stale)}", file=sys.stderr)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
