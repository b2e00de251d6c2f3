# What stands in the emulated account, and on standard output the ids that the emulator chose. The endpoint comes by environment.
import io
import json
import zipfile

import boto3
import loopback  # noqa: F401

OWN, PARTNER, REGION = "123456789012", "999988887777", "us-east-1"


def client(service, region=REGION):
    return boto3.client(service, region_name=region)


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(principal, action, resource=None, **more):
    statement = {"Effect": "Allow", "Principal": principal, "Action": action, **more}
    return statement if resource is None else {**statement, "Resource": resource}


def account(number):
    return {"AWS": f"arn:aws:iam::{number}:root"}


made = {}


def buckets():
    s3 = client("s3")
    for name in ["open", "acl", "closed", "shared"]:
        s3.create_bucket(Bucket=f"acme-{name}")
    west = {"LocationConstraint": "eu-west-1"}
    client("s3", "eu-west-1").create_bucket(Bucket="acme-west", CreateBucketConfiguration=west)
    for name, who in [("open", "*"), ("shared", account(PARTNER)), ("west", account(PARTNER))]:
        document = policy(allow(who, "s3:GetObject", f"arn:aws:s3:::acme-{name}/*"))
        s3.put_bucket_policy(Bucket=f"acme-{name}", Policy=document)
    # The emulator's canned ACLs are not those of AWS: the grants are written out.
    acl = s3.get_bucket_acl(Bucket="acme-acl")
    everyone = {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"}
    grants = acl["Grants"] + [{"Grantee": everyone, "Permission": "READ"}]
    s3.put_bucket_acl(Bucket="acme-acl", AccessControlPolicy={"Owner": acl["Owner"], "Grants": grants})
    block = {"BlockPublicAcls": False, "IgnorePublicAcls": True, "BlockPublicPolicy": False, "RestrictPublicBuckets": False}
    s3.put_public_access_block(Bucket="acme-acl", PublicAccessBlockConfiguration=block)
    s3.put_bucket_tagging(Bucket="acme-closed", Tagging={"TagSet": [{"Key": "team", "Value": "a \"b\""}]})
    control = client("s3control")
    control.create_access_point(AccountId=OWN, Name="reports", Bucket="acme-closed")
    arn = f"arn:aws:s3:{REGION}:{OWN}:accesspoint/reports"
    document = policy(allow(account(PARTNER), "s3:GetObject", f"{arn}/object/*"))
    control.put_access_point_policy(AccountId=OWN, Name="reports", Policy=document)


def identities():
    iam = client("iam")
    github = "token.actions.githubusercontent.com"
    provider = iam.create_open_id_connect_provider(Url=f"https://{github}", ClientIDList=["sts.amazonaws.com"])
    web = allow(
        {"Federated": provider["OpenIDConnectProviderArn"]},
        "sts:AssumeRoleWithWebIdentity",
        Condition={"StringEquals": {f"{github}:aud": "sts.amazonaws.com"}},
    )
    trusts = {
        "github": web,
        "own": allow(account(OWN), "sts:AssumeRole"),
        "partner": allow(account(PARTNER), "sts:AssumeRole"),
        "function": allow({"Service": "lambda.amazonaws.com"}, "sts:AssumeRole"),
    }
    for name, trust in trusts.items():
        iam.create_role(Path="/app/", RoleName=name, AssumeRolePolicyDocument=policy(trust))
    reads = policy({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::acme-closed/*"})
    writes = policy({"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::acme-closed/*"})
    managed = iam.create_policy(PolicyName="writes", PolicyDocument=writes)["Policy"]["Arn"]
    iam.create_policy(PolicyName="attached-to-nobody", PolicyDocument=writes)
    iam.put_role_policy(RoleName="own", PolicyName="reads", PolicyDocument=reads)
    iam.attach_role_policy(RoleName="own", PolicyArn=managed)
    iam.create_group(GroupName="staff")
    iam.put_group_policy(GroupName="staff", PolicyName="reads", PolicyDocument=reads)
    iam.attach_group_policy(GroupName="staff", PolicyArn=managed)
    for user in ["ana", "ben"]:
        iam.create_user(UserName=user)
    iam.add_user_to_group(GroupName="staff", UserName="ana")
    iam.put_user_policy(UserName="ben", PolicyName="reads", PolicyDocument=reads)
    iam.put_user_policy(UserName="ben", PolicyName="writes", PolicyDocument=writes)
    iam.attach_user_policy(UserName="ben", PolicyArn=managed)


def messages(member):
    sqs, sns = client("sqs"), client("sns")
    arn = f"arn:aws:sqs:{REGION}:{OWN}"
    deputy = policy(allow({"Service": "s3.amazonaws.com"}, "sqs:SendMessage", f"{arn}:deputy"))
    sqs.create_queue(QueueName="deputy", Attributes={"Policy": deputy})
    document = policy(allow(account(member), "sqs:SendMessage", f"{arn}:member"))
    sqs.create_queue(QueueName="member", Attributes={"Policy": document})
    sqs.create_queue(QueueName="quiet")
    sns.create_topic(Name="quiet")
    topic = sns.create_topic(Name="news")["TopicArn"]
    document = policy(allow(account(PARTNER), "sns:Subscribe", topic))
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=document)
    bus = client("events")
    bus.create_event_bus(Name="orders")
    bus.put_permission(EventBusName="orders", Action="events:PutEvents", Principal=PARTNER, StatementId="partner")


def keys_and_secrets():
    kms, secrets = client("kms"), client("secretsmanager")
    own = allow(account(OWN), "kms:*", "*")
    document = policy(own, allow(account(PARTNER), "kms:Decrypt", "*"))
    made["shared_key"] = kms.create_key(Policy=document)["KeyMetadata"]["Arn"]
    made["own_key"] = kms.create_key(Policy=policy(own))["KeyMetadata"]["Arn"]
    kms.create_grant(KeyId=made["own_key"], GranteePrincipal=f"arn:aws:iam::{PARTNER}:role/reader", Operations=["Decrypt"])
    made["shared_secret"] = secrets.create_secret(Name="shared", SecretString="secret_value")["ARN"]
    document = policy(allow(account(PARTNER), "secretsmanager:GetSecretValue", "*"))
    secrets.put_resource_policy(SecretId="shared", ResourcePolicy=document)
    made["own_secret"] = secrets.create_secret(Name="own", SecretString="secret_value")["ARN"]


def compute():
    functions = client("lambda")
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("a.py", "def handler(event, context): pass\n")
    for name in ["shared", "quiet"]:
        functions.create_function(
            FunctionName=name,
            Runtime="python3.12",
            Role=f"arn:aws:iam::{OWN}:role/app/function",
            Handler="a.handler",
            Code={"ZipFile": code.getvalue()},
            Environment={"Variables": {"PASSWORD": "planted"}},
        )
    functions.add_permission(
        FunctionName="shared", StatementId="partner", Action="lambda:InvokeFunction", Principal=PARTNER
    )
    ec2 = client("ec2")
    volume = ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=1)["VolumeId"]
    for name in ["shared", "own"]:
        made[f"{name}_snapshot"] = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    ec2.modify_snapshot_attribute(
        SnapshotId=made["shared_snapshot"],
        Attribute="createVolumePermission",
        OperationType="add",
        UserIds=[PARTNER],
    )
    ecr = client("ecr")
    for name in ["shared", "quiet"]:
        ecr.create_repository(repositoryName=name)
    pull = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    ecr.set_repository_policy(repositoryName="shared", policyText=policy(allow(account(PARTNER), pull)))


def tables_and_files():
    tables = client("dynamodb")
    for name in ["shared", "quiet"]:
        tables.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    arn = f"arn:aws:dynamodb:{REGION}:{OWN}:table/shared"
    tables.put_resource_policy(ResourceArn=arn, Policy=policy(allow(account(PARTNER), "dynamodb:GetItem", arn)))


def organization():
    org = client("organizations")
    made["organization"] = org.create_organization(FeatureSet="ALL")["Organization"]["Id"]
    root = org.list_roots()["Roots"][0]["Id"]
    unit = org.create_organizational_unit(ParentId=root, Name="Work")["OrganizationalUnit"]["Id"]
    member = org.create_account(AccountName="Work \"one\"", Email="one@example.org")["CreateAccountStatus"]["AccountId"]
    org.move_account(AccountId=member, SourceParentId=root, DestinationParentId=unit)
    org.enable_policy_type(RootId=root, PolicyType="SERVICE_CONTROL_POLICY")
    document = policy({"Effect": "Deny", "Action": "organizations:LeaveOrganization", "Resource": "*"})
    scp = org.create_policy(Content=document, Description="x", Name="stay", Type="SERVICE_CONTROL_POLICY")
    scp = scp["Policy"]["PolicySummary"]["Id"]
    org.attach_policy(PolicyId=scp, TargetId=unit)
    made.update(root=root, unit=unit, member=member, scp=scp)


organization()
identities()
buckets()
messages(made["member"])
keys_and_secrets()
compute()
tables_and_files()
print(json.dumps(made))
