# A small account, and a user who may do everything but two things. His keys are printed.
import json

import boto3
import loopback  # noqa: F401

s3, sns, iam = (boto3.client(service, region_name="us-east-1") for service in ["s3", "sns", "iam"])
for name in ["acme-open", "acme-closed"]:
    s3.create_bucket(Bucket=name)
public = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::acme-open/*"}
s3.put_bucket_policy(Bucket="acme-open", Policy=json.dumps({"Version": "2012-10-17", "Statement": [public]}))
sns.create_topic(Name="news")
everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
limits = {"Effect": "Deny", "Action": ["s3:GetBucketPolicy", "sns:ListTopics"], "Resource": "*"}
iam.create_user(UserName="auditor")
document = json.dumps({"Version": "2012-10-17", "Statement": [everything, limits]})
iam.put_user_policy(UserName="auditor", PolicyName="all-but-two", PolicyDocument=document)
keys = iam.create_access_key(UserName="auditor")["AccessKey"]
print(json.dumps({"id": keys["AccessKeyId"], "secret": keys["SecretAccessKey"]}))
