"""AdmissionReview requests as an API server sends them."""

import base64
import json
from typing import Any

import jsonpatch

UID = "705ab4f5-6393-11e8-b7cc-42010a800002"
RESOURCES = {
    "Pod": ("", "pods"),
    "Deployment": ("apps", "deployments"),
    "StatefulSet": ("apps", "statefulsets"),
    "DaemonSet": ("apps", "daemonsets"),
    "Job": ("batch", "jobs"),
    "CronJob": ("batch", "cronjobs"),
    "ConfigMap": ("", "configmaps"),
}


def review_of(manifest: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The review that a CREATE of `manifest` causes; `changes` go over the request's own fields."""
    group, plural = RESOURCES[manifest["kind"]]
    kind = {"group": group, "version": "v1", "kind": manifest["kind"]}
    resource = {"group": group, "version": "v1", "resource": plural}
    return {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": UID,
            "kind": kind,
            "resource": resource,
            "requestKind": kind,
            "requestResource": resource,
            "name": manifest["metadata"].get("name", ""),
            "namespace": "bank",
            "operation": "CREATE",
            "userInfo": {
                "username": "system:serviceaccount:kube-system:replicaset-controller",
                "uid": "a7e0ab33-5f29-11e8-8a3c-36e6bb280816",
                "groups": ["system:serviceaccounts", "system:authenticated"],
            },
            "object": manifest,
            "oldObject": None,
            "dryRun": False,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
            **changes,
        },
    }


def encoded(review: dict[str, Any]) -> bytes:
    return json.dumps(review).encode()


def patched(manifest: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    """What an API server makes of `manifest` with the response's patch."""
    assert response["patchType"] == "JSONPatch"
    operations = json.loads(base64.b64decode(response["patch"], validate=True))
    made = jsonpatch.apply_patch(manifest, operations)
    assert isinstance(made, dict)
    return made


def pod_as_the_api_server_has_it(**spec: Any) -> dict[str, Any]:
    """A Pod of a Deployment, defaulted, on its way through admission."""
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "generateName": "accounts-7d9f8b6c5-",
            "creationTimestamp": None,
            "labels": {"app": "accounts", "pod-template-hash": "7d9f8b6c5"},
            "annotations": {"bound-token-sidecar/inject": "true"},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": "accounts-7d9f8b6c5",
                    "uid": "16c2b355-5f5d-11e8-ac91-36e6bb280816",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "volumes": [
                {
                    "name": "kube-api-access-x7k2p",
                    "projected": {
                        "sources": [
                            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                            {
                                "configMap": {
                                    "name": "kube-root-ca.crt",
                                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                                }
                            },
                        ],
                        "defaultMode": 420,
                    },
                }
            ],
            "containers": [
                {
                    "name": "api",
                    "image": "registry.example/accounts:1.4",
                    "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                    "resources": {},
                    "volumeMounts": [
                        {
                            "name": "kube-api-access-x7k2p",
                            "readOnly": True,
                            "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                        }
                    ],
                    "livenessProbe": {
                        "httpGet": {"path": "/healthz", "port": "http", "scheme": "HTTP"},
                        "timeoutSeconds": 1,
                        "periodSeconds": 10,
                        "successThreshold": 1,
                        "failureThreshold": 3,
                    },
                    "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File",
                    "imagePullPolicy": "IfNotPresent",
                }
            ],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default",
            "serviceAccount": "default",
            "securityContext": {},
            "schedulerName": "default-scheduler",
            "tolerations": [
                {
                    "key": "node.kubernetes.io/not-ready",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300,
                }
            ],
            "priority": 0,
            "enableServiceLinks": True,
            "preemptionPolicy": "PreemptLowerPriority",
            **spec,
        },
        "status": {},
    }
