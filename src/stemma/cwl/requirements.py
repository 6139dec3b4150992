"""The requirements that the standard has (CWL v1.2, CommandLineTool §5 and Workflow §5), by their classes."""

from typing import Final

REQUIREMENTS: Final = frozenset(
    {
        "DockerRequirement",
        "EnvVarRequirement",
        "InitialWorkDirRequirement",
        "InlineJavascriptRequirement",
        "InplaceUpdateRequirement",
        "LoadListingRequirement",
        "MultipleInputFeatureRequirement",
        "NetworkAccess",
        "ResourceRequirement",
        "ScatterFeatureRequirement",
        "SchemaDefRequirement",
        "ShellCommandRequirement",
        "SoftwareRequirement",
        "StepInputExpressionRequirement",
        "SubworkflowFeatureRequirement",
        "ToolTimeLimit",
        "WorkReuse",
    }
)
