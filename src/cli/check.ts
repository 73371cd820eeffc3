// `portcullis check`: is the config right, and what does it come to? Who may pull what?
import { pino } from 'pino'
import { effectiveConfig, linesOf, loadConfig } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { endpointsOf, type Endpoint } from '../config/upstream/endpoints.ts'
import { UsageError, type Problem } from '../errors.ts'
import { createKeySource } from '../identity/jwks.ts'
import { readTlsFiles } from '../listener/tls-files.ts'
import { isDue, type Expiry } from '../rules/expiry.ts'
import { exposureOf } from '../rules/key-pair.ts'
import { createPolicy, type Action } from '../policy/policy.ts'
import { policyWarnings } from '../policy/warnings.ts'
import { createChooser } from '../config/upstream-names.ts'
import { readPasswords } from '../registry/token/htpasswd.ts'
import { readKeys } from '../registry/token/keys.ts'
import { apiAddress } from '../upstream/api-address.ts'
import { openIdentities, readUpstreamFiles } from '../upstream/endpoints/files.ts'
import { workerNotes } from '../config/workers/parts.ts'
import { parseCaller } from './caller.ts'
import { defineCommand } from './command.ts'
import { configFile, configOption } from './options.ts'
import { printLine, printNote } from './output/print.ts'
import { judgeSharedStore } from '../transfer/shared/store.ts'

export const command = defineCommand({
  usage: 'check [--config FILE] [--as CALLER ... REPOSITORY]',
  summary:
    'Validates the config and the files it names, and prints it with every default; or says who may pull what.',

  options: {
    config: configOption,
    as: {
      type: 'string',
      multiple: true,
      value: 'CALLER',
      help: 'who would pull REPOSITORY: key=value pairs with commas (cn, dns, uri, subject, issuer, sub, group, claim:NAME), or anonymous',
    },
  },
  takesArguments: true,

  async run({ values, positionals }) {
    const file = configFile(values.config)
    const config = await loadConfig(file)
    if (values.as !== undefined || positionals.length > 0) {
      return explain(config, values.as ?? [], positionals)
    }
    const { problems, doubts } = await judgeFiles(config)
    if (problems.length > 0) throw new UsageError(problems)
    for (const warning of [...doubts, ...(await warnings(config, file)), ...exposedKeys(config)]) {
      printNote(`warning: ${warning}`)
    }
    for (const line of explanations(config)) printNote(line)
    process.stdout.write(effectiveConfig(config))
    return 0
  },
})

const actions: Action[] = ['pull', 'list', 'token']

/** Prints a line for each action: the decision, and why. Exit code 1 where a pull is refused. */
function explain(config: Config, callers: readonly string[], names: readonly string[]): number {
  const [name, ...others] = names
  if (callers.length === 0 || name === undefined || others.length > 0) {
    const message = "needs a caller and one repository: --as 'cn=edge-1' docker.io/library/alpine"
    throw new UsageError([{ path: '--as', message }])
  }
  const caller = parseCaller(callers)
  const place = createChooser(config)({ name })
  const repository = `${place.upstream}/${place.repository}`
  const policy = createPolicy(config.policy)
  const decisions = actions.map((action) => ({
    action,
    ...policy.decide(caller, action, repository),
  }))
  const upstream = config.upstreams[place.upstream]
  const endpoints = upstream === undefined ? [] : endpointsOf(place.upstream, upstream)
  const isElsewhere = endpoints.length > 1 || endpoints.some(isNotPlain)
  if ((upstream?.rewrite ?? []).length > 0 || isElsewhere) {
    for (const endpoint of endpoints) {
      printLine(`ask    ${addressOf(place.upstream, endpoint, `${place.repository}/`)}`)
    }
  }
  for (const { action, allowed, reason } of decisions) {
    printLine(`${allowed ? 'allow' : 'deny '}  ${action} ${repository}: ${reason}`)
  }
  return decisions[0]?.allowed === true ? 0 : 1
}

/** Its URL has a path, or another gateway answers there: few expect what is asked then. */
function isNotPlain({ config: { url, gateway } }: Endpoint): boolean {
  return gateway || new URL(url).pathname !== '/'
}

function addressOf(upstream: string, { config: { url, gateway } }: Endpoint, path: string): string {
  return apiAddress(new URL(url), path, gateway ? upstream : undefined).href
}

/** What is not plain to see: what is asked, and in which order; what several processes come to. */
function explanations({ upstreams, workers }: Config): string[] {
  const ofUpstreams = Object.entries(upstreams).flatMap(([name, upstream]) => {
    const endpoints = endpointsOf(name, upstream)
    return endpoints
      .filter((endpoint) => endpoints.length > 1 || isNotPlain(endpoint))
      .map((endpoint, index) => {
        const order = index === 0 ? 'asked for at' : 'where that does not answer, at'
        return `${endpoint.at}.url: ${name}/NAME:TAG is ${order} ${addressOf(name, endpoint, 'NAME/manifests/TAG')}`
      })
  })
  return [...workerNotes(workers), ...ofUpstreams]
}

/** What is wrong with the files and what is doubtful: read as at a start, and let go. */
async function judgeFiles(config: Config) {
  const { listen, admin, upstreams, auth } = config
  const identities = await openIdentities(upstreams)
  const readers = [
    ...(listen.insecureHttp ? [] : [() => doubtsOf(readTlsFiles(listen.tls, 'listen.tls'))]),
    ...(admin.tls.cert === undefined ? [] : [() => doubtsOf(readTlsFiles(admin.tls, 'admin.tls'))]),
    ...authReaders(auth),
    () =>
      readUpstreamFiles(upstreams, identities).flatMap(({ tls }) =>
        doubtsOf({ expiries: tls.expiries, warnings: tls.warnings.map(lineFor) }),
      ),
    async () => sharedDoubts(config),
  ]
  const problems: Problem[] = []
  const doubts: string[] = []
  for (const read of readers) {
    try {
      doubts.push(...(await read()))
    } catch (error) {
      if (!(error instanceof UsageError)) throw error
      problems.push(...error.problems)
    }
  }
  return { problems, doubts }
}

/** Throws UsageError where a start would fail. */
async function sharedDoubts(config: Config): Promise<string[]> {
  const problem = await judgeSharedStore(config)
  if (problem === undefined) return []
  if (config.cache.shared?.required === true) throw new UsageError([problem])
  return [lineFor(problem)]
}

/** What `auth` names; a key that signs tokens is made at a start, not here. */
function authReaders({ issuers, tokenService }: Config['auth']) {
  const log = pino({ level: 'silent' })
  return [
    ...issuers.map((issuer, index) => async () => {
      await createKeySource(issuer, { at: `auth.issuers.${index}`, log }).close()
      return []
    }),
    () => {
      const { key, htpasswd } = tokenService ?? {}
      if (key !== undefined) readKeys(key)
      if (htpasswd !== undefined) readPasswords(htpasswd)
      return []
    },
  ]
}

/** With what ends soon; what has ended is a problem or a warning already. */
function doubtsOf({ expiries, warnings }: { expiries: Expiry[]; warnings: string[] }): string[] {
  const now = Date.now()
  const soon = expiries.filter((expiry) => isDue(expiry, now) && expiry.expiresAt > now)
  return [
    ...warnings,
    ...soon.map(({ use, name, expiresAt }) => {
      return `${use}: ${name} ends on ${new Date(expiresAt).toISOString()}: renew it`
    }),
  ]
}

/** The private keys that every account of this machine can read. */
function exposedKeys({ listen, admin, upstreams, auth }: Config): string[] {
  const endpoints = Object.entries(upstreams).flatMap(([name, one]) => endpointsOf(name, one))
  const named: [path: string, file: string | undefined][] = [
    ['listen.tls.key', listen.insecureHttp ? undefined : listen.tls.key],
    ['admin.tls.key', admin.tls.key],
    ['auth.tokenService.key', auth.tokenService?.key],
    ...endpoints.flatMap(({ at, config: { tls } }): typeof named => [
      [`${at}.tls.key`, tls.key],
      [`${at}.tls.pfx`, tls.pfx],
    ]),
  ]
  return named.flatMap(([path, file]) => {
    const exposure = file === undefined ? undefined : exposureOf(file)
    return exposure === undefined ? [] : [`${path}: ${exposure}`]
  })
}

function lineFor({ path, message }: Problem): string {
  return `${path}: ${message}`
}

/** What is allowed and should not be left so. */
async function warnings(config: Config, file: string): Promise<string[]> {
  const { listen, upstreams, policy, auth } = config
  const unchecked = Object.entries(upstreams)
    .flatMap(([name, upstream]) => endpointsOf(name, upstream))
    .filter(({ config: { tls } }) => !tls.verify)
  const lineOf = await linesOf(file)
  const ofPolicy = policyWarnings({
    policy,
    auth,
    upstreams: Object.keys(upstreams),
    certificates: listen.tls.clientAuth !== 'none',
  })
  return [
    ...(listen.insecureHttp
      ? ['listen.insecureHttp: nothing is encrypted and nobody is identified']
      : []),
    ...unchecked.map(
      ({ at }) => `${at}.tls.verify: the certificate of the upstream is not checked`,
    ),
    ...ofPolicy.map(({ at, message }) => `${at.join('.')}: ${message} (line ${lineOf(at)})`),
  ]
}
