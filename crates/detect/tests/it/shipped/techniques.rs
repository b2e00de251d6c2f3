//! Techniques of public catalogues of cloud attacks, each as the calls that it leaves in the trail.

use super::ordinary::{record, user};
use super::{findings, lines, trail, types};
use serde_json::{Value, json};

/// One technique of the public catalogues of cloud attacks, as the calls that it leaves in the trail.
struct Technique {
    name: &'static str,
    /// (service, API, parameters, error code, how often; `#` in a parameter becomes the number).
    calls: Vec<(&'static str, &'static str, &'static str, &'static str, usize)>,
    finding: &'static str,
}

fn technique(
    name: &'static str,
    finding: &'static str,
    calls: &[(&'static str, &'static str, &'static str, &'static str, usize)],
) -> Technique {
    Technique { name, calls: calls.to_vec(), finding }
}

fn techniques() -> Vec<Technique> {
    const DENIED: &str = "Client.UnauthorizedOperation";
    vec![
        technique(
            "passwords of instances",
            "CredentialAccess:EC2/UnsecuredCredentials",
            &[
                ("sts", "AssumeRole", r#"{"roleArn":"r"}"#, "", 1),
                ("ec2", "GetPasswordData", r##"{"instanceId":"i-#"}"##, DENIED, 30),
            ],
        ),
        technique(
            "parameters in bulk",
            "CredentialAccess:SSM/BulkRetrieval",
            &[
                ("ssm", "DescribeParameters", r#"{"maxResults":10}"#, "", 5),
                (
                    "ssm",
                    "GetParameters",
                    r##"{"withDecryption":true,"names":["/#/1","/2","/3","/4","/5","/6","/7","/8","/9","/10"]}"##,
                    "",
                    4,
                ),
            ],
        ),
        technique(
            "trail event selectors",
            "Stealth:IAMUser/CloudTrailLoggingDisabled",
            &[(
                "cloudtrail",
                "PutEventSelectors",
                r#"{"trailName":"t","eventSelectors":[{"readWriteType":"ReadOnly","includeManagementEvents":false,"dataResources":[{"type":"AWS::S3::Object","values":[]}]}]}"#,
                "",
                1,
            )],
        ),
        technique(
            "expiry of the trail's bucket",
            "Impact:S3/DataDestruction",
            &[(
                "s3",
                "PutBucketLifecycle",
                r#"{"bucketName":"t","LifecycleConfiguration":{"Rule":{"Status":"Enabled","Expiration":{"Days":1},"Prefix":"*","ID":"x"}}}"#,
                "",
                1,
            )],
        ),
        technique(
            "DNS logs",
            "DefenseImpairment:Route53Resolver/DisableOrModifyTools",
            &[
                (
                    "route53resolver",
                    "DisassociateResolverQueryLogConfig",
                    r#"{"resolverQueryLogConfigId":"rqlc-1","resourceId":"vpc-1"}"#,
                    "",
                    1,
                ),
                (
                    "route53resolver",
                    "DeleteResolverQueryLogConfig",
                    r#"{"resolverQueryLogConfigId":"rqlc-1"}"#,
                    "",
                    1,
                ),
            ],
        ),
        technique(
            "flow logs",
            "DefenseImpairment:EC2/DisableOrModifyTools",
            &[(
                "ec2",
                "DeleteFlowLogs",
                r#"{"DeleteFlowLogsRequest":{"FlowLogId":{"tag":1,"content":"fl-1"}}}"#,
                "",
                1,
            )],
        ),
        technique(
            "leaving the organisation",
            "DefenseImpairment:Organizations/ModifyCloudResourceHierarchy",
            &[("organizations", "LeaveOrganization", "null", "AccessDenied", 1)],
        ),
        technique(
            "start-up scripts read",
            "Discovery:EC2/UserDataRead",
            &[(
                "ec2",
                "DescribeInstanceAttribute",
                r##"{"instanceId":"i-#","attribute":"userData"}"##,
                DENIED,
                15,
            )],
        ),
        technique(
            "mail service explored",
            "Discovery:SES/AccountEnumeration",
            &[
                ("servicequotas", "ListServiceQuotas", r#"{"serviceCode":"ses"}"#, "", 1),
                ("ses", "GetAccountSendingEnabled", "null", "", 1),
                ("ses", "GetSendQuota", "null", "", 1),
                ("ses", "ListIdentities", r#"{"maxItems":10}"#, "", 1),
            ],
        ),
        technique(
            "unusual instances",
            "Impact:EC2/ResourceHijacking",
            &[(
                "ec2",
                "RunInstances",
                r#"{"instanceType":"p2.xlarge","instancesSet":{"items":[{"imageId":"ami-1","minCount":1,"maxCount":10}]}}"#,
                DENIED,
                1,
            )],
        ),
        technique(
            "notebook script",
            "Execution:SageMaker/CommandAndScriptingInterpreter",
            &[
                ("sagemaker", "StopNotebookInstance", r#"{"notebookInstanceName":"n"}"#, "", 1),
                (
                    "sagemaker",
                    "CreateNotebookInstanceLifecycleConfig",
                    r#"{"notebookInstanceLifecycleConfigName":"x"}"#,
                    "",
                    1,
                ),
                (
                    "sagemaker",
                    "UpdateNotebookInstance",
                    r#"{"notebookInstanceName":"n","lifecycleConfigName":"x"}"#,
                    "",
                    1,
                ),
                ("sagemaker", "StartNotebookInstance", r#"{"notebookInstanceName":"n"}"#, "", 1),
            ],
        ),
        technique(
            "command on instances",
            "Execution:SSM/RunCommand",
            &[(
                "ssm",
                "SendCommand",
                r#"{"documentName":"AWS-RunShellScript","instanceIds":["i-1","i-2"],"parameters":"HIDDEN_DUE_TO_SECURITY_REASONS"}"#,
                "",
                1,
            )],
        ),
        technique(
            "sessions on instances",
            "LateralMovement:EC2/RemoteServices",
            &[("ssm", "StartSession", r##"{"target":"i-#"}"##, "", 3)],
        ),
        technique(
            "serial console",
            "LateralMovement:EC2/RemoteServices",
            &[
                ("ec2", "EnableSerialConsoleAccess", r#"{"EnableSerialConsoleAccessRequest":""}"#, "", 1),
                (
                    "ec2-instance-connect",
                    "SendSerialConsoleSSHPublicKey",
                    r#"{"instanceId":"i-1","serialPort":0}"#,
                    "",
                    1,
                ),
            ],
        ),
        technique(
            "SSH from everywhere",
            "Persistence:EC2/ExternalRemoteServices",
            &[(
                "ec2",
                "AuthorizeSecurityGroupIngress",
                r#"{"groupId":"sg-1","cidrIp":"0.0.0.0/0","fromPort":22,"toPort":22,"ipProtocol":"tcp","ipPermissions":{}}"#,
                "",
                1,
            )],
        ),
        technique(
            "disk snapshot shared",
            "Exfiltration:EC2/TransferDataToCloudAccount",
            &[(
                "ec2",
                "ModifySnapshotAttribute",
                r#"{"snapshotId":"snap-1","createVolumePermission":{"add":{"items":[{"userId":"999999999999"}]}},"attributeType":"CREATE_VOLUME_PERMISSION"}"#,
                "",
                1,
            )],
        ),
        technique(
            "database snapshot shared",
            "Exfiltration:RDS/TransferDataToCloudAccount",
            &[(
                "rds",
                "ModifyDBSnapshotAttribute",
                r#"{"dBSnapshotIdentifier":"s","attributeName":"restore","valuesToAdd":["999999999999"]}"#,
                "",
                1,
            )],
        ),
        technique(
            "bucket policy for an outsider",
            "Exfiltration:S3/TransferDataToCloudAccount",
            &[(
                "s3",
                "PutBucketPolicy",
                r#"{"bucketName":"b","bucketPolicy":{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::999999999999:root"},"Action":["s3:GetObject","s3:GetBucketLocation","s3:ListBucket"],"Resource":["arn:aws:s3:::b/*","arn:aws:s3:::b"]}]}}"#,
                "",
                1,
            )],
        ),
        technique(
            "bucket emptied one by one",
            "Impact:S3/DataDestruction",
            &[
                ("s3", "ListObjectVersions", r#"{"bucketName":"b"}"#, "", 1),
                ("s3", "DeleteObject", r##"{"bucketName":"b","key":"k#"}"##, "", 51),
                ("s3", "PutObject", r#"{"bucketName":"b","key":"HOW-TO-RECOVER.txt"}"#, "", 1),
            ],
        ),
        technique(
            "bucket emptied at once",
            "Impact:S3/DataDestruction",
            &[
                ("s3", "ListObjectVersions", r#"{"bucketName":"b"}"#, "", 1),
                ("s3", "DeleteObjects", r#"{"bucketName":"b"}"#, "", 1),
            ],
        ),
        technique(
            "bucket encrypted",
            "Impact:S3/DataEncryptedForImpact",
            &[(
                "s3",
                "CopyObject",
                r##"{"bucketName":"b","key":"k#","x-amz-copy-source":"b/k#","x-amz-server-side-encryption-customer-algorithm":"AES256"}"##,
                "",
                51,
            )],
        ),
        technique(
            "key for another user",
            "Persistence:IAM/AccountManipulation",
            &[("iam", "CreateAccessKey", r#"{"userName":"sample"}"#, "", 1)],
        ),
        technique(
            "password for a user",
            "Persistence:IAM/AccountManipulation",
            &[("iam", "CreateLoginProfile", r#"{"userName":"sample"}"#, "", 1)],
        ),
        technique(
            "role's trust changed",
            "Persistence:IAM/AccountManipulation",
            &[(
                "iam",
                "UpdateAssumeRolePolicy",
                r#"{"roleName":"r","policyDocument":"{\n \"Version\": \"2012-10-17\",\n \"Statement\": [{\"Effect\": \"Allow\", \"Principal\": {\"Service\": \"ec2.amazonaws.com\"}, \"Action\": \"sts:AssumeRole\"}, {\"Effect\": \"Allow\", \"Principal\": {\"AWS\": \"arn:aws:iam::999999999999:root\"}, \"Action\": \"sts:AssumeRole\"}]}"}"#,
                "",
                1,
            )],
        ),
        technique(
            "federation token",
            "Persistence:IAM/FederatedAccess",
            &[
                (
                    "sts",
                    "GetFederationToken",
                    r#"{"name":"x","policy":"{\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"*\",\"Resource\":\"*\"}]}"}"#,
                    "",
                    1,
                ),
                ("sts", "GetCallerIdentity", "null", "", 1),
            ],
        ),
        technique(
            "function's code",
            "Persistence:Lambda/ModifyCode",
            &[(
                "lambda",
                "UpdateFunctionCode20150331v2",
                r#"{"functionName":"f","dryRun":false,"publish":false}"#,
                "",
                1,
            )],
        ),
        technique(
            "models opened and called",
            "Impact:Bedrock/ResourceHijacking",
            &[
                ("bedrock", "ListFoundationModels", r#"{"byProvider":"x"}"#, "", 1),
                ("bedrock", "PutUseCaseForModelAccess", r#"{"formData":"e30="}"#, "", 1),
                ("bedrock", "CreateFoundationModelAgreement", r#"{"modelId":"m"}"#, "", 1),
                ("bedrock", "InvokeModel", r#"{"modelId":"m"}"#, "ValidationException", 1),
            ],
        ),
        technique(
            "cluster access",
            "PrivilegeEscalation:EKS/AccountManipulation",
            &[
                (
                    "eks",
                    "CreateAccessEntry",
                    r#"{"name":"c","principalArn":"p","kubernetesGroups":[]}"#,
                    "",
                    1,
                ),
                (
                    "eks",
                    "AssociateAccessPolicy",
                    r#"{"name":"c","policyArn":"arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy","accessScope":{"type":"cluster"}}"#,
                    "",
                    1,
                ),
            ],
        ),
    ]
}

/// Each technique is named by at most two types, the whole set looking at it: more would be noise about one thing.
#[test]
fn techniques_of_public_catalogues_are_found_and_named() {
    let mut wrong = Vec::new();
    for t in techniques() {
        let mut records = Vec::new();
        for (service, api, parameters, error, n) in &t.calls {
            for i in 0..*n {
                let parameters: Value =
                    serde_json::from_str(&parameters.replace('#', &i.to_string())).unwrap();
                let mut more = json!({"requestParameters": parameters});
                if !error.is_empty() {
                    more["errorCode"] = (*error).into();
                }
                let at = records.len() as i64 * 2;
                records.push(record(at, service, api, &user("intruder"), "203.0.113.66", more));
            }
        }
        let found = findings(&trail(&records), None);
        let got = types(&found);
        if !got.contains(t.finding) || got.len() > 2 {
            wrong.push(format!("{}: {got:?}, {} expected", t.name, t.finding));
        }
    }
    assert!(wrong.is_empty(), "{}", lines(wrong));
}
