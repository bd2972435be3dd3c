//! Task definitions that the table of members is shown with, on a real engine.

use longshore_harness::image::SAMPLE_IMAGE;
use serde_json::{Value, json};

use crate::definition::SLEEPER;

/// Two containers on the bridge, with nearly everything that a container can be given.
pub(super) fn bridge() -> Value {
    json!({
        "family": "bridge",
        "containerDefinitions": [
            {
                "name": "db",
                "image": SAMPLE_IMAGE,
                "essential": false,
                "cpu": 64,
                "memory": 32,
                "memoryReservation": 16,
                "entryPoint": [SLEEPER[0]],
                "command": SLEEPER[1..],
                "mountPoints": [{ "sourceVolume": "of-db", "containerPath": "/of-db" }],
                "linuxParameters": { "maxSwap": 32, "swappiness": 10 },
            },
            {
                "name": "main",
                "image": SAMPLE_IMAGE,
                "cpu": 128,
                "memory": 96,
                "memoryReservation": 64,
                "links": ["db:database"],
                "portMappings": [
                    { "containerPort": 80, "hostPort": 8088, "name": "web", "appProtocol": "http" },
                    { "containerPort": 53, "protocol": "udp" },
                ],
                "entryPoint": ["/bin/sh", "-c"],
                "command": [SLEEPER[2]],
                "environment": [
                    { "name": "GIVEN", "value": "here" },
                    { "name": "TWICE", "value": "definition" },
                ],
                "mountPoints": [
                    { "sourceVolume": "scratch", "containerPath": "/scratch" },
                    { "sourceVolume": "hosted", "containerPath": "/hosted" },
                    { "sourceVolume": "shared", "containerPath": "/shared", "readOnly": true },
                    { "sourceVolume": "made", "containerPath": "/made" },
                    { "sourceVolume": "own", "containerPath": "/own" },
                ],
                "volumesFrom": [{ "sourceContainer": "db", "readOnly": true }],
                "linuxParameters": {
                    "capabilities": { "add": ["NET_ADMIN"], "drop": ["MKNOD"] },
                    "devices": [
                        {
                            "hostPath": "/dev/null",
                            "containerPath": "/dev/nil",
                            "permissions": ["read", "write"],
                        },
                        { "hostPath": "/dev/full" },
                    ],
                    "initProcessEnabled": true,
                    "sharedMemorySize": 16,
                    "tmpfs": [{ "containerPath": "/fast", "size": 4, "mountOptions": ["noexec"] }],
                },
                "stopTimeout": 2,
                "hostname": "box",
                "user": "0:0",
                "workingDirectory": "/www",
                "readonlyRootFilesystem": true,
                "dnsServers": ["192.0.2.53"],
                "dnsSearchDomains": ["example.test"],
                "extraHosts": [{ "hostname": "elsewhere", "ipAddress": "192.0.2.1" }],
                "dockerSecurityOptions": ["no-new-privileges"],
                "interactive": true,
                "pseudoTerminal": true,
                "dockerLabels": { "team": "web" },
                "ulimits": [{ "name": "nofile", "softLimit": 100, "hardLimit": 200 }],
                "logConfiguration": { "logDriver": "json-file", "options": { "max-size": "1m" } },
                "healthCheck": {
                    "command": ["CMD", "/bin/true"],
                    "interval": 5, "timeout": 2, "retries": 2, "startPeriod": 1,
                },
                "systemControls": [{ "namespace": "net.core.somaxconn", "value": "1024" }],
            },
        ],
        "volumes": [
            { "name": "of-db" },
            { "name": "scratch", "host": {} },
            { "name": "hosted", "host": { "sourcePath": "/srv" } },
            { "name": "shared", "dockerVolumeConfiguration": { "scope": "shared" } },
            { "name": "own", "dockerVolumeConfiguration": { "labels": { "team": "web" } } },
            {
                "name": "made",
                "dockerVolumeConfiguration": {
                    "scope": "shared",
                    "autoprovision": true,
                    "driver": "local",
                    "driverOpts": { "type": "tmpfs", "device": "tmpfs", "o": "size=1m" },
                    "labels": { "team": "web" },
                },
            },
        ],
    })
}

/// Of the task of [`bridge`].
pub(super) fn overrides() -> Value {
    json!({ "containerOverrides": [{
        "name": "main",
        "command": ["trap 'exit 0' TERM; sleep 99999 & wait"],
        "environment": [{ "name": "TWICE", "value": "override" }],
        "cpu": 256,
        "memory": 64,
        "memoryReservation": 48,
    }] })
}

/// In the host's namespaces.
pub(super) fn host() -> Value {
    json!({
        "family": "host",
        "networkMode": "host",
        "pidMode": "host",
        "ipcMode": "host",
        "containerDefinitions": [{
            "name": "hosted", "image": SAMPLE_IMAGE, "memory": 16, "command": SLEEPER,
        }],
    })
}

/// Limits of the task, which its one container has as its own.
pub(super) fn limited(name: &str) -> Value {
    json!({
        "family": name,
        "cpu": "256",
        "memory": "128",
        "containerDefinitions": [{ "name": name, "image": SAMPLE_IMAGE, "command": SLEEPER }],
    })
}

/// A kernel that gives its host no more than some capabilities refuses to start it.
pub(super) fn privileged() -> Value {
    json!({
        "family": "privileged",
        "containerDefinitions": [{
            "name": "privileged", "image": SAMPLE_IMAGE, "memory": 16, "command": SLEEPER,
            "privileged": true,
        }],
    })
}

/// No host of these tests has a GPU: it is made, and does not start.
pub(super) fn gpu() -> Value {
    json!({
        "family": "gpu",
        "containerDefinitions": [{
            "name": "gpu", "image": SAMPLE_IMAGE, "memory": 16, "command": SLEEPER,
            "resourceRequirements": [{ "type": "GPU", "value": "1" }],
        }],
    })
}

pub(super) fn alone() -> Value {
    json!({
        "family": "alone",
        "ipcMode": "none",
        "containerDefinitions": [{
            "name": "unconnected", "image": SAMPLE_IMAGE, "memory": 16, "command": SLEEPER,
            "disableNetworking": true,
        }],
    })
}

pub(super) fn isolated() -> Value {
    json!({
        "family": "isolated",
        "networkMode": "none",
        "containerDefinitions": [{
            "name": "isolated", "image": SAMPLE_IMAGE, "memory": 16, "command": SLEEPER,
        }],
    })
}
