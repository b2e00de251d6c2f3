// What @cloud-copilot/iam-simulate says to concrete requests: an oracle outside of the product, for tests only.
//
// It is started as a process of its own and asked over its public interface; nothing of it is copied (AGPL-3.0).
//
// In, one JSON object per line:  {"n", "policy": text, "requests": [{"request"}, ...]}
// Out, one per line:             {"n", "outcomes": ["allowed" | "denied" | "not_allowed" | "not asked: ..." | "error: ...", ...]}
//
// A policy without principals is asked as the only identity policy of a user, of a resource in the same account whose own policy leaves
// everything to the account (keys and roles have to be asked, and then say nothing). One with principals is asked as the policy of a
// resource in an account to which nobody who asks belongs, beside an identity policy that allows everything: then the answer is that
// of the resource's policy alone.

// Argument: the folder of packages. The engine is called by its place in the package, below the checks of inputs: those drop keys that
// they do not know for an action, which would be another question; and the public call without them (0.1.173) fails on every policy
// of a resource and cannot say that an action knows no resource.

import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const packages = process.argv[2]
const from = (path) => import(pathToFileURL(`${packages}/@cloud-copilot/${path}`))
const { anonymousPrincipal } = await from('iam-simulate/dist/esm/index.js')
const { authorize } = await from('iam-simulate/dist/esm/core_engine/CoreSimulatorEngine.js')
const { AwsRequestImpl } = await from('iam-simulate/dist/esm/request/request.js')
const { RequestContextImpl } = await from('iam-simulate/dist/esm/requestContext.js')
const { DiscoveryContextKeyConstraints } = await from(
  'iam-simulate/dist/esm/context_keys/discoveryContextKeyConstraints.js'
)
const { loadPolicy } = await from('iam-policy/dist/esm/index.js')

const LEFT_TO_THE_ACCOUNT = loadPolicy(
  {
    Version: '2012-10-17',
    Statement: [
      { Effect: 'Allow', Principal: { AWS: 'arn:aws:iam::111111111111:root' }, Action: '*', Resource: '*' }
    ]
  },
  { name: 'account' }
)
const EVERYTHING = loadPolicy(
  { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }] },
  { name: 'everything' }
)
// Nobody's account.
const OWNER = '999999999999'
const WORDS = { Allowed: 'allowed', ExplicitlyDenied: 'denied', ImplicitlyDenied: 'not_allowed' }

// How the simulator names who asks; undefined for those that it cannot name.
function named(principal) {
  switch (principal.kind) {
    case 'anonymous':
      return anonymousPrincipal
    case 'iam':
    case 'service':
      return principal.value
    case 'session': {
      const [arn, partition, , , account, role] = principal.value.role.split(':')
      return [arn, partition, 'sts', '', account, `assumed-role/${role.split('/').at(-1)}/${principal.value.name}`].join(':')
    }
    default:
      return undefined
  }
}

// Keys that a policy reads as sets hold lists, all others one text.
function readAsSets(policy) {
  const keys = new Set()
  for (const statement of [policy.Statement].flat()) {
    for (const [operator, of] of Object.entries(statement.Condition ?? {})) {
      if (/^For(All|Any)Values?:/i.test(operator)) Object.keys(of).forEach((k) => keys.add(k.toLowerCase()))
    }
  }
  return keys
}

function outcome(policy, sets, request) {
  const principal = request.principal ? named(request.principal) : 'arn:aws:iam::111111111111:user/u'
  if (principal === undefined) return `not asked: principals of kind ${request.principal.kind}`
  const contextVariables = {}
  for (const [key, values] of Object.entries(request.context)) {
    contextVariables[key] = values.length === 1 && !sets.has(key) ? values[0] : values
  }
  const isOfResource = request.principal !== null
  const isIdentity = typeof principal === 'string' && principal.startsWith('arn:')
  const subject = loadPolicy(policy, { name: 'policy' })
  try {
    const { result } = authorize({
      request: new AwsRequestImpl(
        principal,
        { resource: request.resource, accountId: isOfResource ? OWNER : '111111111111' },
        request.action,
        new RequestContextImpl(contextVariables),
        // `*` is what actions that know no resource are asked about.
        request.resource === '*'
      ),
      identityPolicies: isOfResource ? (isIdentity ? [EVERYTHING] : []) : [subject],
      serviceControlPolicies: [],
      resourceControlPolicies: [],
      resourcePolicy: isOfResource ? subject : LEFT_TO_THE_ACCOUNT,
      permissionBoundaries: undefined,
      sessionPolicy: undefined,
      vpcEndpointPolicies: undefined,
      simulationParameters: {
        simulationMode: 'Strict',
        discoveryContextKeyConstraints: new DiscoveryContextKeyConstraints([])
      },
      serviceSettings: { s3: {} }
    })
    return WORDS[result] ?? `error: ${result}`
  } catch (e) {
    return `error: ${e.message}`
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { n, policy: text, requests } = JSON.parse(line)
  const policy = JSON.parse(text)
  const sets = readAsSets(policy)
  const outcomes = requests.map((r) => outcome(policy, sets, r.request))
  process.stdout.write(JSON.stringify({ n, outcomes }) + '\n')
}
