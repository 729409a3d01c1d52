"""Made-up objects of the Kubernetes API: pods, budgets, nodes, claims and volumes."""

DEPLOYED = {"kind": "ReplicaSet", "name": "web-1", "uid": "rs-web", "controller": True}
DAEMON = {"kind": "DaemonSet", "name": "svclb", "uid": "ds", "controller": True}


def pod(name, owner=DEPLOYED, node="n1", namespace="default", labels=None, ready=True, **more):
    """A pod as the API has it; `more` goes into metadata, spec or status by name."""
    spec = {"nodeName": node, "terminationGracePeriodSeconds": 30, "containers": [{}], **more.get("spec", {})}
    return {
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": f"uid-{name}",
            "labels": labels or {"app": "web"},
            "ownerReferences": [owner] if owner else [],
            **more.get("metadata", {}),
        },
        "spec": {key: value for key, value in spec.items() if value is not None},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            **more.get("status", {}),
        },
    }


def budget(name, allowed=0, namespace="default", **selector):
    return {
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"selector": selector or {"matchLabels": {"app": "web"}}},
        "status": {"disruptionsAllowed": allowed},
    }


def node(name, cpu="4", memory="8Gi", ready=True, labels=None, **spec):
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": spec,
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory, "pods": "110"},
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


def local_volume(*nodes):
    rule = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(nodes)}
    return {"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}}}}


CLAIMS = {"default/data": {"spec": {"volumeName": "pv-1"}}, "default/far": {"spec": {"volumeName": "pv-2"}}}
VOLUMES = {"pv-1": local_volume("n1"), "pv-2": {"spec": {"nfs": {}}}}


def with_claim(name):
    return {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": name}}]}
