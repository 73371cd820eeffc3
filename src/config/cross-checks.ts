// What the schema cannot say: keys that need each other, exclude each other or name each other.
import { checkAccessRules } from './access-rules.ts'
import type { S3Config } from './cache/schema.ts'
import type { Finding } from './decode.ts'
import type { Cause, ConfigDraft, TellAt, UpstreamDraft } from './draft.ts'
import { isDockerHub } from './registries.ts'
import { ruleProblem } from '../rules/rewrite.ts'
import type { Config, ListenerTlsConfig } from './schema.ts'
import { checkShelf } from './shelf/pattern.ts'
import { checkReplicas } from './upstream/replica-checks.ts'
import { parseHours } from './units.ts'
import { checkWorkers } from './workers/parts.ts'

export interface BrokenRule extends Finding {
  cause: Cause
}

/** Every broken rule. `environment` is where `passwordEnv` is looked up. */
export function brokenRules(config: ConfigDraft, environment: NodeJS.ProcessEnv): BrokenRule[] {
  const findings: BrokenRule[] = []
  const tell: TellAt = (at, message, cause = 'present') => findings.push({ at, message, cause })
  checkListen(config.listen, tell)
  checkAdmin(config, tell)
  checkSharedStore(config.cache.shared?.s3, within(tell, 'cache', 'shared', 's3'))
  for (const [name, upstream] of Object.entries(config.upstreams)) {
    const below = within(tell, 'upstreams', name)
    checkEndpoint(upstream, environment, below)
    for (const [index, endpoint] of upstream.endpoints.entries()) {
      checkEndpoint(endpoint, environment, within(below, 'endpoints', String(index)))
    }
    checkOwnUrl(upstream, below)
    checkRewrite(upstream.rewrite, below)
    checkHours(upstream.maxRate, below)
  }
  checkUpstreamTls(config.replicas, within(tell, 'replicas'))
  checkReplicas(config.replicas, config.listen.tls.clientAuth, within(tell, 'replicas'))
  checkWorkers(config, tell)
  checkNames(config, tell)
  if (typeof config.shelf !== 'string') checkShelf(config.shelf, config, tell, ['shelf'])
  checkAccessRules(config, tell, (at, text) => checkHttpUrl(at, text, tell))
  return findings
}

function within(tell: TellAt, ...section: string[]): TellAt {
  return (at, message, cause) => tell([...section, ...at], message, cause)
}

function checkListen({ tls, insecureHttp }: Config['listen'], tell: TellAt): void {
  const below = within(tell, 'listen', 'tls')
  checkListenerTls(tls, below)
  if (insecureHttp) {
    if (tls.cert !== undefined) {
      tell(['listen', 'insecureHttp'], 'is true although listen.tls.cert is set: keep one of them')
    } else if (tls.clientAuth !== 'none') {
      below(['clientAuth'], 'needs TLS: set listen.insecureHttp to false')
    }
  } else if (tls.cert === undefined && tls.key === undefined) {
    below(
      ['cert'],
      'is missing: set cert and key, or listen.insecureHttp: true for no TLS',
      'absent',
    )
  }
}

function checkAdmin({ admin, listen }: ConfigDraft, tell: TellAt): void {
  checkListenerTls(admin.tls, within(tell, 'admin', 'tls'))
  const plain = admin.tls.cert === undefined && admin.tls.key === undefined
  if (plain && !isLoopback(admin.host)) {
    tell(
      ['admin', 'host'],
      'must be a loopback address such as 127.0.0.1 unless admin.tls is set',
      'absent',
    )
  }
  if (plain && admin.tls.clientAuth !== 'none') {
    tell(
      ['admin', 'tls', 'clientAuth'],
      'needs TLS: set admin.tls.cert and admin.tls.key',
      'absent',
    )
  }
  if (admin.port !== 0 && admin.port === listen.port) {
    tell(['admin', 'port'], 'is also the port of listen: choose another one')
  }
}

function checkListenerTls(tls: ListenerTlsConfig, tell: TellAt): void {
  checkPair(tls, tell)
  if (tls.clientAuth !== 'none' && tls.clientCa.length === 0) {
    tell(
      ['clientCa'],
      `is empty but clientAuth is ${tls.clientAuth}: name the CA to trust`,
      'absent',
    )
  }
  if (tls.clientAuth === 'none' && tls.crl.length > 0) {
    tell(['crl'], 'has no effect while clientAuth is none: set it to required, or remove crl')
  }
  if (tls.crl.length === 0 && tls.crlMaxStale > 0) {
    tell(['crlMaxStale'], 'has no effect without crl: name the revocation lists', 'absent')
  }
}

function checkPair(tls: { cert?: string; key?: string }, tell: TellAt): void {
  if (tls.cert !== undefined && tls.key === undefined) {
    tell(['key'], 'is missing: cert needs the private key that belongs to it', 'absent')
  }
  if (tls.key !== undefined && tls.cert === undefined) {
    tell(['cert'], 'is missing: key needs the certificate that belongs to it', 'absent')
  }
}

/** What says where an upstream is, and how it is asked there. */
type EndpointDraft = Pick<UpstreamDraft, 'url' | 'tls' | 'auth' | 'proxy' | 'gateway'>

function checkEndpoint(
  endpoint: EndpointDraft,
  environment: NodeJS.ProcessEnv,
  tell: TellAt,
): void {
  checkUrl(endpoint, tell)
  checkUpstreamTls(endpoint, tell)
  checkAuth(endpoint.auth, environment, tell)
  checkProxy(endpoint.proxy, tell)
}

/** Where the endpoints are all there is, what is beside them would be for nobody. */
function checkOwnUrl(upstream: UpstreamDraft, tell: TellAt): void {
  const { url, endpoints, tls, auth, gateway, proxy } = upstream
  if (url !== undefined) return
  if (endpoints.length === 0) {
    if (gateway) tell(['url'], 'is missing: gateway needs the address of that gateway', 'absent')
    return
  }
  const written = {
    gateway,
    tls: !tls.verify || Object.keys(tls).length > 1,
    auth: Object.keys(auth).length > 2 || auth.realms.length > 0 || auth.fallback !== 'anonymous',
    proxy: proxy !== undefined,
  }
  for (const [key, isWritten] of Object.entries(written)) {
    if (isWritten) tell([key], 'has no effect without url: each of endpoints has its own')
  }
}

function checkUrl({ url, tls }: EndpointDraft, tell: TellAt): void {
  if (url === undefined) return
  const parsed = checkHttpUrl(['url'], url, tell)
  if (parsed === undefined) return
  if (/\/v2\/?$/.test(parsed.pathname)) tell(['url'], 'must not end in /v2: it is added by itself')
  checkTlsOf('url', parsed.protocol, tls, tell)
}

/** @param key what has the address */
function checkTlsOf(
  key: string,
  protocol: string | undefined,
  tls: { verify: boolean },
  tell: TellAt,
): void {
  if (protocol === 'http:' && (!tls.verify || Object.keys(tls).length > 1)) {
    tell(['tls'], `has no effect on an http URL: write https in ${key}, or remove tls`)
  }
}

function checkUpstreamTls({ tls }: { tls: Partial<EndpointDraft['tls']> }, tell: TellAt): void {
  const below = within(tell, 'tls')
  checkPair(tls, below)
  if (tls.pfx !== undefined && (tls.cert !== undefined || tls.key !== undefined)) {
    below(['pfx'], 'cannot be set beside cert and key: keep the one or the others')
  }
  if (tls.passphraseFile !== undefined && tls.key === undefined && tls.pfx === undefined) {
    below(['passphraseFile'], 'has nothing to open: set key or pfx as well', 'absent')
  }
}

function checkAuth(
  auth: UpstreamDraft['auth'],
  environment: NodeJS.ProcessEnv,
  tell: TellAt,
): void {
  const below = within(tell, 'auth')
  const { username, passwordFile, passwordEnv, dockerConfig, helper } = auth
  const password = passwordFile ?? passwordEnv
  if (helper !== undefined && (username ?? password ?? dockerConfig) !== undefined) {
    below(['helper'], 'cannot be set beside other credentials: keep one of them')
  }
  if (passwordFile !== undefined && passwordEnv !== undefined) {
    below(['passwordEnv'], 'cannot be set beside passwordFile: keep one of them')
  }
  if (dockerConfig !== undefined && (username ?? password) !== undefined) {
    below(['dockerConfig'], 'cannot be set beside username and its password: keep one of them')
  } else if (username !== undefined && password === undefined) {
    below(['username'], 'needs its password: set passwordFile or passwordEnv', 'absent')
  } else if (username === undefined && password !== undefined) {
    below(['username'], 'is missing: whose password is it?', 'absent')
  }
  if (passwordEnv !== undefined && !environment[passwordEnv]) {
    below(['passwordEnv'], `names the environment variable ${passwordEnv}, which is not set`)
  }
}

function checkRewrite(rules: UpstreamDraft['rewrite'], tell: TellAt): void {
  for (const [index, rule] of (rules ?? []).entries()) {
    const problem = ruleProblem(rule)
    if (problem !== undefined) tell(['rewrite', String(index), 'to'], problem)
  }
}

function checkHours(maxRate: UpstreamDraft['maxRate'], tell: TellAt): void {
  for (const hours of typeof maxRate === 'object' ? Object.keys(maxRate) : []) {
    if (parseHours(hours) === undefined) tell(['maxRate', hours], 'is no time at all')
  }
}

function checkProxy(proxy: string | undefined, tell: TellAt): void {
  if (proxy === undefined) return
  const parsed = checkHttpUrl(['proxy'], proxy, tell)
  if (parsed !== undefined && parsed.pathname !== '/') tell(['proxy'], 'must not have a path')
}

function checkSharedStore(s3: S3Config | undefined, tell: TellAt): void {
  if (s3 === undefined) return
  const { file, tokenFile, roleArn, profile } = s3.credentials
  const below = within(tell, 'credentials')
  checkUpstreamTls(s3, tell)
  checkTlsOf('endpoint', URL.parse(s3.endpoint ?? '')?.protocol, s3.tls, tell)
  if (file !== undefined && (tokenFile ?? roleArn) !== undefined) {
    below(['tokenFile'], 'cannot be set beside file: keep one of them')
  }
  if (file === undefined && profile !== 'default') {
    below(['profile'], 'has no effect without file: name the file that has this section')
  }
  if (tokenFile !== undefined && roleArn === undefined) {
    below(['tokenFile'], 'needs the role that it is for: set roleArn', 'absent')
  } else if (tokenFile === undefined && roleArn !== undefined) {
    below(['roleArn'], 'needs the token that it is assumed with: set tokenFile', 'absent')
  }
}

/** The parsed URL; nothing where it is wrong. Never repeats the text: it may hold a password. */
function checkHttpUrl(at: readonly string[], text: string, tell: TellAt): URL | undefined {
  const url = URL.parse(text)
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    tell(at, 'must be a URL that starts with https:// (or http://)')
    return undefined
  }
  if (url.username !== '' || url.password !== '') {
    tell(at, 'must not contain a user name or password')
    return undefined
  }
  if (/[?#]/.test(text)) {
    tell(at, 'must not have a query or a fragment')
    return undefined
  }
  return url
}

function checkNames({ upstreams, defaultUpstream }: ConfigDraft, tell: TellAt): void {
  const names = Object.keys(upstreams)
  const [first, ...others] = names.filter((name) => isDockerHub(name))
  for (const name of others) {
    tell(['upstreams', name], `is the same registry as ${first}: keep one of them`)
  }
  if (defaultUpstream !== undefined && !names.includes(defaultUpstream)) {
    const known = names.length > 0 ? `must be one of ${names.join(', ')}` : 'needs an upstream'
    tell(['defaultUpstream'], `${known}, as configured under upstreams`)
  }
}

/** 127.0.0.0/8, ::1 or localhost. */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}
