//! The keys of `RegisterTaskDefinition`, as of the AWS SDK of 2026.

use super::KeyTable;
use super::Shape::{Flag, ListOfNumber, ListOfText, Many, Number, One, Text, Texts};

pub(super) const DEFINITION: KeyTable = &[
    ("family", Text),
    ("taskRoleArn", Text),
    ("executionRoleArn", Text),
    ("networkMode", Text),
    ("containerDefinitions", Many(CONTAINER_DEFINITION)),
    ("volumes", Many(VOLUME)),
    ("placementConstraints", Many(PLACEMENT_CONSTRAINT)),
    ("requiresCompatibilities", ListOfText),
    ("cpu", Text),
    ("memory", Text),
    ("tags", Many(TAG)),
    ("pidMode", Text),
    ("ipcMode", Text),
    ("proxyConfiguration", One(PROXY_CONFIGURATION)),
    ("inferenceAccelerators", Many(INFERENCE_ACCELERATOR)),
    ("ephemeralStorage", One(EPHEMERAL_STORAGE)),
    ("runtimePlatform", One(RUNTIME_PLATFORM)),
    ("enableFaultInjection", Flag),
];

const CONTAINER_DEFINITION: KeyTable = &[
    ("name", Text),
    ("image", Text),
    ("repositoryCredentials", One(REPOSITORY_CREDENTIALS)),
    ("cpu", Number),
    ("memory", Number),
    ("memoryReservation", Number),
    ("links", ListOfText),
    ("portMappings", Many(PORT_MAPPING)),
    ("essential", Flag),
    ("restartPolicy", One(RESTART_POLICY)),
    ("entryPoint", ListOfText),
    ("command", ListOfText),
    ("environment", Many(NAME_AND_VALUE)),
    ("environmentFiles", Many(ENVIRONMENT_FILE)),
    ("mountPoints", Many(MOUNT_POINT)),
    ("volumesFrom", Many(VOLUME_FROM)),
    ("linuxParameters", One(LINUX_PARAMETERS)),
    ("secrets", Many(SECRET)),
    ("dependsOn", Many(CONTAINER_DEPENDENCY)),
    ("startTimeout", Number),
    ("stopTimeout", Number),
    ("versionConsistency", Text),
    ("hostname", Text),
    ("user", Text),
    ("workingDirectory", Text),
    ("disableNetworking", Flag),
    ("privileged", Flag),
    ("readonlyRootFilesystem", Flag),
    ("dnsServers", ListOfText),
    ("dnsSearchDomains", ListOfText),
    ("extraHosts", Many(HOST_ENTRY)),
    ("dockerSecurityOptions", ListOfText),
    ("interactive", Flag),
    ("pseudoTerminal", Flag),
    ("dockerLabels", Texts),
    ("ulimits", Many(ULIMIT)),
    ("logConfiguration", One(LOG_CONFIGURATION)),
    ("healthCheck", One(HEALTH_CHECK)),
    ("systemControls", Many(SYSTEM_CONTROL)),
    ("resourceRequirements", Many(RESOURCE_REQUIREMENT)),
    ("firelensConfiguration", One(FIRELENS_CONFIGURATION)),
    ("credentialSpecs", ListOfText),
];

const REPOSITORY_CREDENTIALS: KeyTable = &[("credentialsParameter", Text)];

const PORT_MAPPING: KeyTable = &[
    ("containerPort", Number),
    ("hostPort", Number),
    ("protocol", Text),
    ("name", Text),
    ("appProtocol", Text),
    ("containerPortRange", Text),
];

const RESTART_POLICY: KeyTable = &[
    ("enabled", Flag),
    ("ignoredExitCodes", ListOfNumber),
    ("restartAttemptPeriod", Number),
];

const NAME_AND_VALUE: KeyTable = &[("name", Text), ("value", Text)];

const ENVIRONMENT_FILE: KeyTable = &[("value", Text), ("type", Text)];

const MOUNT_POINT: KeyTable = &[
    ("sourceVolume", Text),
    ("containerPath", Text),
    ("readOnly", Flag),
];

const VOLUME_FROM: KeyTable = &[("sourceContainer", Text), ("readOnly", Flag)];

const LINUX_PARAMETERS: KeyTable = &[
    ("capabilities", One(KERNEL_CAPABILITIES)),
    ("devices", Many(DEVICE)),
    ("initProcessEnabled", Flag),
    ("sharedMemorySize", Number),
    ("tmpfs", Many(TMPFS)),
    ("maxSwap", Number),
    ("swappiness", Number),
];

const KERNEL_CAPABILITIES: KeyTable = &[("add", ListOfText), ("drop", ListOfText)];

const DEVICE: KeyTable = &[
    ("hostPath", Text),
    ("containerPath", Text),
    ("permissions", ListOfText),
];

const TMPFS: KeyTable = &[
    ("containerPath", Text),
    ("size", Number),
    ("mountOptions", ListOfText),
];

const SECRET: KeyTable = &[("name", Text), ("valueFrom", Text)];

const CONTAINER_DEPENDENCY: KeyTable = &[("containerName", Text), ("condition", Text)];

const HOST_ENTRY: KeyTable = &[("hostname", Text), ("ipAddress", Text)];

const ULIMIT: KeyTable = &[("name", Text), ("softLimit", Number), ("hardLimit", Number)];

const LOG_CONFIGURATION: KeyTable = &[
    ("logDriver", Text),
    ("options", Texts),
    ("secretOptions", Many(SECRET)),
];

const HEALTH_CHECK: KeyTable = &[
    ("command", ListOfText),
    ("interval", Number),
    ("timeout", Number),
    ("retries", Number),
    ("startPeriod", Number),
];

const SYSTEM_CONTROL: KeyTable = &[("namespace", Text), ("value", Text)];

const RESOURCE_REQUIREMENT: KeyTable =
    &[("value", Text), ("type", Text), ("sharingStrategy", Text)];

const FIRELENS_CONFIGURATION: KeyTable = &[("type", Text), ("options", Texts)];

const VOLUME: KeyTable = &[
    ("name", Text),
    ("host", One(HOST_VOLUME_PROPERTIES)),
    (
        "dockerVolumeConfiguration",
        One(DOCKER_VOLUME_CONFIGURATION),
    ),
    ("efsVolumeConfiguration", One(EFS_VOLUME_CONFIGURATION)),
    (
        "s3filesVolumeConfiguration",
        One(S3_FILES_VOLUME_CONFIGURATION),
    ),
    ("fsxWindowsFileServerVolumeConfiguration", One(FSX_VOLUME)),
    ("configuredAtLaunch", Flag),
];

const HOST_VOLUME_PROPERTIES: KeyTable = &[("sourcePath", Text)];

const DOCKER_VOLUME_CONFIGURATION: KeyTable = &[
    ("scope", Text),
    ("autoprovision", Flag),
    ("driver", Text),
    ("driverOpts", Texts),
    ("labels", Texts),
];

const EFS_VOLUME_CONFIGURATION: KeyTable = &[
    ("fileSystemId", Text),
    ("rootDirectory", Text),
    ("transitEncryption", Text),
    ("transitEncryptionPort", Number),
    ("authorizationConfig", One(EFS_AUTHORIZATION_CONFIG)),
];

const EFS_AUTHORIZATION_CONFIG: KeyTable = &[("accessPointId", Text), ("iam", Text)];

const S3_FILES_VOLUME_CONFIGURATION: KeyTable = &[
    ("fileSystemArn", Text),
    ("rootDirectory", Text),
    ("transitEncryptionPort", Number),
    ("accessPointArn", Text),
];

const FSX_VOLUME: KeyTable = &[
    ("fileSystemId", Text),
    ("rootDirectory", Text),
    ("authorizationConfig", One(FSX_AUTHORIZATION)),
];

const FSX_AUTHORIZATION: KeyTable = &[("credentialsParameter", Text), ("domain", Text)];

const PLACEMENT_CONSTRAINT: KeyTable = &[("type", Text), ("expression", Text)];

const TAG: KeyTable = &[("key", Text), ("value", Text)];

const PROXY_CONFIGURATION: KeyTable = &[
    ("type", Text),
    ("containerName", Text),
    ("properties", Many(NAME_AND_VALUE)),
];

const INFERENCE_ACCELERATOR: KeyTable = &[("deviceName", Text), ("deviceType", Text)];

const EPHEMERAL_STORAGE: KeyTable = &[("sizeInGiB", Number)];

const RUNTIME_PLATFORM: KeyTable = &[("cpuArchitecture", Text), ("operatingSystemFamily", Text)];
