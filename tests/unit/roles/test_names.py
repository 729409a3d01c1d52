"""Names that cross the border of a role: what it takes, what it promises to set, and what is its own business."""

import re
from functools import cache
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).parents[3]
ROLES = {path.parent.name: path.parent for path in sorted((CHECKOUT / "roles").glob("*/meta"))}
# The roles of one run. What a user sets for it has one way in.
RUN = [role for role in ROLES if role not in ("patch_schedule", "unattended_upgrades")]
SPECS = {
    role: yaml.safe_load((folder / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    for role, folder in ROLES.items()
}


@cache
def code(path):
    """A file of YAML without its comments."""
    return "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))


def whole(role):
    """All tasks, variables and defaults of a role."""
    return "\n".join(
        code(path) for part in ("tasks", "vars", "defaults") for path in ROLES[role].glob(f"{part}/**/*.yml")
    )


def values(role, part):
    """The variables of a file: name -> its text."""
    path = ROLES[role] / part / "main.yml"
    known = yaml.safe_load(path.read_text()) if path.exists() else None
    return {name: str(value) for name, value in (known or {}).items()}


def steps(value):
    """Every mapping in what was read of YAML: tasks, and what is in them."""
    for each in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
        yield from steps(each)
    if isinstance(value, dict):
        yield value


def steps_of(role):
    """The files of tasks of a host's steps."""
    return sorted(ROLES[role].glob("tasks/steps/*.yml"))


@cache
def tasks_of(path):
    """Every mapping in a file of tasks."""
    return list(steps(yaml.safe_load(path.read_text())))


def reached(role, path):
    """The files that a file of tasks includes or writes, also by an expression, a loop or a variable that names one."""
    for task in tasks_of(path):
        told = f"{task.get('ansible.builtin.include_tasks', '')} {task.get('loop', '')}"
        names = [f"tasks/{word}.yml" for word in re.findall(r"\w+", told)] if "include_tasks" in str(task) else []
        # Which step it is, is known when it runs.
        names += [f"tasks/steps/{other.name}" for other in steps_of(role)] if "steps/" in told else []
        names += [f"tasks/{word}.yml" for word in re.findall(r"(\w+)\.yml", str(task.get("vars", "")))]
        names += [f"templates/{word}.j2" for word in re.findall(r"\w+", str(task)) if ".j2" in str(task)]
        yield from (other for other in map(ROLES[role].joinpath, names) if other.exists())


def reads(role, entry):
    """The inputs that an entry point reads, in whatever file."""
    waiting, files = [ROLES[role] / "tasks" / f"{entry}.yml"], set()
    while waiting:
        files.add(path := waiting.pop())
        waiting += [other for other in reached(role, path) if other not in files] if path.suffix == ".yml" else []
    # A name before a colon is set and not read.
    text = "\n".join(re.sub(r"(?m)^[ -]*\w+:", "", code(path)) for path in files)
    behind = {**values(role, "vars"), **values(role, "defaults")}
    found: set = set()
    while new := set(re.findall(rf"\b(?:__)?{role}_\w+", text)) - found:
        found |= new
        text = "\n".join(behind.get(name, "") for name in new)
    return found & {name for spec in SPECS[role].values() for name in spec.get("options", {})}


@pytest.mark.parametrize(("role", "entry"), [(role, entry) for role in SPECS for entry in SPECS[role]])
def test_an_entry_point_takes_what_it_reads(role, entry):
    assert set(SPECS[role][entry].get("options", {})) == reads(role, entry)


@pytest.mark.parametrize("role", ROLES)
def test_no_role_reads_a_private_name_of_another(role):
    others = [f"__{other}_" for other in ROLES if other != role]
    assert sorted({name for name in re.findall(r"\b__\w+", whole(role)) if name.startswith(tuple(others))}) == []


def sets(role):
    """The names that the tasks of a role set, by set_fact or register."""
    tasks = [task for path in ROLES[role].glob("tasks/**/*.yml") for task in tasks_of(path)]
    facts = {name for task in tasks for name in task.get("ansible.builtin.set_fact", ())}
    return facts | {task["register"] for task in tasks if isinstance(task.get("register"), str)}


def promises(role):
    """The facts that a role promises: in its specs as C(name), and in the first line of a file of tasks as name."""
    inputs = {name for spec in SPECS[role].values() for name in spec.get("options", {})}
    heads = [" ".join(path.read_text().splitlines()[:2]) for path in ROLES[role].glob("tasks/**/*.yml")]
    return {name for text in [str(SPECS[role]), *heads] for name in re.findall(rf"\b{role}_\w+", text)} - inputs


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_promises_it_sets(role):
    assert promises(role) - sets(role) == set()


@pytest.mark.parametrize("role", ROLES)
def test_what_others_read_of_a_role_is_promised_in_its_specs(role):
    others = [whole(other) for other in ROLES if other != role]
    others += [code(path) for path in (CHECKOUT / "playbooks").glob("*.yml")]
    facts = {name for name in sets(role) if not name.startswith("__")}
    read = {name for name in facts if any(re.search(rf"\b{name}\b", text) for text in others)}
    assert read - set(re.findall(rf"\b{role}_\w+", str(SPECS[role]))) == set()


@pytest.mark.parametrize("name", sorted({n for role in RUN for n in re.findall(r"\bpatching_\w+", whole(role))}))
def test_a_variable_of_the_policy_has_one_way_in(name):
    assert sum(any(re.search(rf"\b{name}\b", text) for text in values(role, "defaults").values()) for role in RUN) <= 1


def test_a_remedy_names_no_input_of_a_role():
    """A person sets `patching_*`; what is passed on to a role's own names is overruled by the plan."""
    inputs = {name for role in RUN for spec in SPECS[role].values() for name in spec.get("options", {})}
    texts = [(path, path.read_text()) for path in (CHECKOUT / "plugins").glob("module_utils/*/*.py")]
    assert {(path.name, name) for path, text in texts for name in inputs if re.search(rf"\b{name}\b", text)} == set()


def test_a_claim_is_taken_renewed_and_released_in_one_file_each():
    """Nodes are renewed with their host, and for each call of another role. What `forget` claims is another run's."""
    where: dict = {}
    paths = [path for part in ("roles/*/tasks/**", "playbooks") for path in CHECKOUT.glob(f"{part}/*.yml")]
    for path in (path for path in paths if path.name != "forget.yml"):
        for task in tasks_of(path):
            if call := task.get("homelab.patching.host_claim"):
                where.setdefault(call.get("state", "claimed"), set()).add(
                    str(path.relative_to(CHECKOUT / "roles")).replace("/tasks/", "/")
                )
    assert where == {
        "claimed": {"patch_host/claim.yml"},
        "renewed": {"patch_host/steps/claim.yml", "patch_host/renew_nodes.yml", "k3s_maintenance/call_node.yml"},
        # Where one node of a cluster cannot be claimed, the others are given back at once.
        "released": {"patch_host/release.yml", "patch_host/claim.yml"},
    }


@pytest.mark.parametrize("role", ROLES)
def test_a_variable_of_a_task_has_the_name_of_a_role(role):
    """What a play or a task of the user sets with set_fact outranks it, so no common word may decide anything."""
    tasks = (task for path in ROLES[role].glob("tasks/**/*.yml") for task in steps(yaml.safe_load(path.read_text())))
    names = {name for task in tasks if isinstance(task.get("vars"), dict) for name in task["vars"]}
    assert {name for name in names if not name.removeprefix("__").startswith(tuple(ROLES))} == set()


@pytest.mark.parametrize("role", ROLES)
def test_every_name_of_a_role_comes_from_somewhere(role):
    """An input, a variable, what a task sets, or the item of a loop: one that nobody sets shows on a machine only."""
    tasks = [task for path in ROLES[role].glob("tasks/**/*.yml") for task in steps(yaml.safe_load(path.read_text()))]
    given = {name for task in tasks if isinstance(task.get("vars"), dict) for name in task["vars"]}
    given |= {task["loop_var"] for task in tasks if "loop_var" in task}
    given |= sets(role) | set(values(role, "vars")) | set(values(role, "defaults"))
    given |= {name for task in tasks for name in re.findall(r"\b__\w+", str(task.get("ansible.builtin.set_fact", "")))}
    read = set(re.findall(rf"(?<![\w.])(?:__)?{role}_\w+", whole(role)))
    assert {name for name in read - given if not (ROLES[role] / f"tasks/{name}.yml").exists()} == set()
