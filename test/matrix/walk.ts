// Walks the matrix: fills the registry, asks the gateways for every cell, and judges what came.
import { lookup } from 'node:dns/promises'
import { pullImage } from '../../src/demo/puller.ts'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { until } from '../e2e/lab/program.ts'
import { pushContent } from '../e2e/lab/registry.ts'
import {
  ask,
  errorCode,
  gatewayUrl,
  identityOf,
  readMetrics,
  reasonCounted,
  untilReady,
  type Answer,
} from './ask.ts'
import { forbiddenUpstream } from './lab.ts'
import { visits, type Visit } from './nginx-log.ts'
import type { Places } from './places.ts'
import {
  clientAuthOf,
  clientAuths,
  clientNames,
  clientOutcome,
  gatewayNames,
  modes,
  repositoryOf,
  situations,
  upstreamName,
  upstreamOutcome,
  type ClientName,
  type GatewayName,
  type Mode,
  type Situation,
} from './plan.ts'

export interface Cell {
  matrix: 'upstream' | 'client' | 'path'
  row: string
  column: string
  expected: string
  got: string
  ok: boolean
  seconds: number
}

const tag = '1.0'

/** Resolves with every cell, right or wrong; rejects where the matrix cannot be walked at all. */
export async function walk(places: Places): Promise<Cell[]> {
  for (const name of gatewayNames) await untilReady(places, name)
  const cells: Cell[] = []
  for (const mode of modes) {
    for (const situation of situations) {
      const names = { matrix: 'upstream', row: mode.title, column: situation.title } as const
      const expected = upstreamOutcome(mode, situation)
      cells.push(await judge({ ...names, expected }, () => pull(places, mode, situation)))
    }
  }
  for (const gateway of clientAuths) {
    for (const client of clientNames) {
      const row = `clientAuth: ${clientAuthOf[gateway]}`
      const cell = { matrix: 'client', row, column: client } as const
      const expected = clientOutcome(gateway, client)
      cells.push(await judge({ ...cell, expected }, () => knock(places, gateway, client)))
    }
  }
  return places.isolated ? [...cells, ...(await walkPaths(places))] : cells
}

/** All at once: a name that nobody knows takes its time to fail. */
async function walkPaths(places: Places): Promise<Cell[]> {
  const path = { matrix: 'path', expected: 'no way' } as const
  return Promise.all([
    judge({ ...path, row: 'runner', column: 'nginx' }, () => resolveName(places.nginx.host)),
    ...gatewayNames.map(async (gateway) =>
      judge({ ...path, row: gateway, column: 'registry' }, () => shortcut(places, gateway)),
    ),
  ])
}

async function judge(
  cell: Pick<Cell, 'matrix' | 'row' | 'column' | 'expected'>,
  work: () => Promise<string>,
): Promise<Cell> {
  const started = performance.now()
  const got = await work().catch((error: unknown) => `failed: ${messageOf(error)}`)
  const seconds = (performance.now() - started) / 1000
  return { ...cell, got, ok: got === cell.expected, seconds }
}

/** Through gateway and nginx to the registry: `pulled`, or why not. */
async function pull(places: Places, mode: Mode, situation: Situation): Promise<string> {
  const { gateway } = mode
  const upstream = upstreamName(mode, situation)
  const repository = repositoryOf(mode, situation)
  const image = await buildSampleImage({ layerBytes: 65_536, seed: repository })
  await pushContent(`http://${places.registry}/v2/${repository}`, image)
  const before = await readMetrics(places, gateway)
  const warned = before.get(`portcullis_insecure_upstreams{upstream="${upstream}"}`) === 1
  if (warned === mode.verify) return `${warned ? 'warned' : 'not warned'} of as insecure`

  const url = gatewayUrl(places, gateway)
  const node = { cert: '', key: '', ...identityOf(places, 'right') }
  const answer = await ask(`${url}/v2/${repository}/manifests/${tag}?ns=${upstream}`, node)
  const digest = image.tags.get(tag)
  const index = digest === undefined ? undefined : image.manifests.get(digest)?.bytes
  if (answer.status !== 200) {
    const counter = {
      name: 'portcullis_upstream_errors_total',
      label: 'cause',
      having: `upstream="${upstream}"`,
      before,
    }
    const reason = await reasonCounted(places, gateway, counter)
    return withEvidence(places, mode, situation, refusal(answer, reason))
  }
  if (index === undefined || !answer.bytes.equals(index)) return 'other bytes than were pushed'
  await pullImage({ url, node, upstream, repository, tag, onStep: () => undefined })
  return withEvidence(places, mode, situation, 'pulled')
}

function refusal(answer: Answer, reason: string): string {
  const code = errorCode(answer)
  const asItShould = answer.status === 502 && code === 'UPSTREAM_FAILED'
  return asItShould ? reason : `${answer.status} ${code}: ${reason}`
}

/** `got`, unless nginx's log tells another story. */
async function withEvidence(
  { nginxRun }: Places,
  mode: Mode,
  situation: Situation,
  got: string,
): Promise<string> {
  const wanted = visitWanted(mode, situation, got)
  const seen = () => visits(nginxRun, repositoryOf(mode, situation))
  if (wanted === undefined) {
    return seen().length === 0 ? got : `${got}, though a request was sent`
  }
  await until('nginx has written its log', async () => seen().length > 0)
  const other = seen().find((visit) => !wanted(visit))
  return other === undefined ? got : `${got}, but nginx saw ${JSON.stringify(other)}`
}

/** What each line of nginx's log must look like; undefined where there must be none. */
function visitWanted(
  { shows }: Mode,
  { demandsCertificate }: Situation,
  got: string,
): ((visit: Visit) => boolean) | undefined {
  const subject = demandsCertificate && shows !== 'nothing' ? `CN=${shows}` : '-'
  if (got === 'pulled') {
    const verified = demandsCertificate ? 'SUCCESS' : 'NONE'
    return (visit) => visit.status < 300 && visit.client === subject && visit.verified === verified
  }
  if (!got.startsWith('client_certificate_')) return undefined
  const verified = shows === 'nothing' ? 'NONE' : 'FAILED:'
  return (visit) =>
    visit.status === 400 && visit.client === subject && visit.verified.startsWith(verified)
}

async function knock(places: Places, gateway: GatewayName, client: ClientName): Promise<string> {
  const before = await readMetrics(places, gateway)
  const counted = (name: string) =>
    reasonCounted(places, gateway, { name, label: 'reason', before })
  const answer = await ask(`${gatewayUrl(places, gateway)}/v2/`, identityOf(places, client)).catch(
    () => undefined,
  )
  if (answer === undefined) {
    return `cut off: ${await counted('portcullis_handshake_failures_total')}`
  }
  if (answer.status === 200) return 'admitted'
  const reason = await counted('portcullis_refused_callers_total')
  return answer.status === 403 && errorCode(answer) === 'DENIED'
    ? `denied: ${reason}`
    : `${answer.status} ${errorCode(answer)}: ${reason}`
}

async function resolveName(host: string): Promise<string> {
  return lookup(host).then(
    ({ address }) => `${host} is ${address}`,
    () => 'no way',
  )
}

/** Of an internal network, where it depends on the machine whether and when a name fails. */
const noWay = new Set(['dns', 'timeout', 'unreachable'])

/** A gateway that asks the registry itself must not find it: it would complain of plain HTTP. */
async function shortcut(places: Places, gateway: GatewayName): Promise<string> {
  const before = await readMetrics(places, gateway)
  const url = `${gatewayUrl(places, gateway)}/v2/any/thing/manifests/${tag}?ns=${forbiddenUpstream}`
  const answer = await ask(url, identityOf(places, 'right'))
  const having = `upstream="${forbiddenUpstream}"`
  const counter = { name: 'portcullis_upstream_errors_total', label: 'cause', having, before }
  const reason = await reasonCounted(places, gateway, counter)
  return noWay.has(reason) && answer.status !== 200 ? 'no way' : refusal(answer, reason)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
