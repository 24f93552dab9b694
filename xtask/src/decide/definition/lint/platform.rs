//! What a definition is for: Fargate or instances, Linux or Windows, and its network. Rules ask it
//! before they judge what only one of them refuses.

use std::str::FromStr;

use crate::decide::definition::container::ContainerDefinition;
use crate::decide::definition::lint::Facts;
use crate::decide::definition::node::Node;

/// What runs tasks, by the names of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaunchType {
    Fargate,
    Ec2,
    External,
    ManagedInstances,
}

impl LaunchType {
    const ALL: [Self; 4] = [
        Self::Fargate,
        Self::Ec2,
        Self::External,
        Self::ManagedInstances,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Fargate => "FARGATE",
            Self::Ec2 => "EC2",
            Self::External => "EXTERNAL",
            Self::ManagedInstances => "MANAGED_INSTANCES",
        }
    }
}

impl FromStr for LaunchType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        all.find(|it| it.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name).join(", ");
                format!("expected one of {names}")
            })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Network {
    Awsvpc,
    Bridge,
    Host,
    None,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct TaskPlatform {
    /// ECS validates the definition for each launch type that it lists, so this does not mean that
    /// no instance runs it.
    pub(super) is_fargate: bool,
    pub(super) is_external: bool,
    /// Neither the definition nor anything else says what runs it. ECS computes it then.
    pub(super) is_unknown: bool,
    pub(super) is_windows: bool,
    pub(super) network: Network,
}

impl TaskPlatform {
    pub(super) fn of(
        root: &Node<'_>,
        containers: &[ContainerDefinition<'_>],
        facts: &Facts,
    ) -> Self {
        let listed = root.texts("requiresCompatibilities");
        let launch = facts.launch_type.map(LaunchType::name);
        let is = |name: &str| listed.contains(&name) || launch == Some(name);
        let network = match root.text("networkMode") {
            Some("awsvpc") => Network::Awsvpc,
            Some("host") => Network::Host,
            Some("none") => Network::None,
            _ => Network::Bridge,
        };
        Self {
            is_fargate: is("FARGATE"),
            is_external: is("EXTERNAL"),
            is_unknown: listed.is_empty() && launch.is_none(),
            is_windows: is_windows(root, containers),
            network,
        }
    }
}

/// On instances `runtimePlatform` may be missing, so the names of images count as well.
fn is_windows(root: &Node<'_>, containers: &[ContainerDefinition<'_>]) -> bool {
    let family = root.at(["runtimePlatform", "operatingSystemFamily"]);
    match family.and_then(|family| family.string()) {
        Some(family) => family.to_ascii_uppercase().starts_with("WINDOWS"),
        None => containers
            .iter()
            .filter_map(ContainerDefinition::image)
            .any(|image| {
                let marks = [
                    "windowsservercore",
                    "nanoserver",
                    "mcr.microsoft.com/windows",
                ];
                marks.iter().any(|mark| image.contains(mark))
            }),
    }
}
