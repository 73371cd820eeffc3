// What is right and wrong with one upstream, from its name to a part of a blob.
import type { Digest } from '../../oci/digest.ts'
import type { ManifestFacts } from '../../oci/manifest.ts'
import { newPseudonym } from '../../oci/via.ts'
import { createAgents } from '../agents.ts'
import { checkAccess } from './access-check.ts'
import { checkBase } from './base-check.ts'
import type { ChainCertificate } from './certificate-chain.ts'
import { checkManifest, checkRange } from './content-check.ts'
import { checkHead, checkReferrers, checkTags } from './pull-check.ts'
import type { Upstream } from '../exchange.ts'
import type { Image } from './image.ts'
import { createLine } from './connection-check.ts'
import { modeOf, type Mode } from '../tls.ts'
import { tryModes, type ModeResult } from './tls-modes.ts'
import { createRedaction } from './redaction.ts'
import { findImage } from './find-image.ts'
import {
  failed,
  passed,
  skipped,
  walk,
  type Stage,
  type Step,
  type StepName,
  type StepVerdict,
} from './step.ts'
import { createUpstream, userAgent } from '../endpoints/client.ts'
import type { PreparedUpstream } from '../endpoints/files.ts'

export interface Diagnosis {
  upstream: string
  url: string
  /** Another gateway answers there. */
  gateway: boolean
  proxy?: string
  /** What the config asks for; `plain` where the URL says http. */
  mode: Mode | 'plain'
  /** No step failed. */
  ok: boolean
  steps: Step[]
  /** As presented, leaf first; empty where there was no handshake. */
  certificates: readonly ChainCertificate[]
  /** Empty for plain HTTP, and where there was no connection. */
  modes: ModeResult[]
  /** What works and should not be left so, each with its config key. */
  warnings: string[]
}

/**
 * Looks at one upstream with the gateway's own client. Credentials are sent only as the gateway sends
 * them: over connections whose certificate passes the check, unless `verify` is false in the config.
 * @param image what to ask for; where there is none, the upstream's catalog is searched
 */
export async function diagnose(prepared: PreparedUpstream, image?: Image): Promise<Diagnosis> {
  const { name, config, tls } = prepared
  const { credentials, guard, redact } = createRedaction(prepared.credentials)
  const client = createUpstream(
    { ...prepared, credentials, agents: createAgents(config, tls) },
    {
      metrics: { attempt() {}, badAnswer() {} },
      logFailure() {},
      userAgent: userAgent(),
      pseudonym: newPseudonym(),
      now: Date.now,
    },
  )
  const upstream = { ...client, authorizer: guard(client.authorizer) }
  const line = createLine({
    url: upstream.url,
    proxy: config.proxy === undefined ? undefined : new URL(config.proxy),
    tls: tls.own,
    subject: upstream.subject,
    timeout: config.connectTimeout,
    now: Date.now,
  })
  const isPlain = upstream.url.protocol === 'http:'
  try {
    const steps = await walk([
      ...line.stages,
      ...registryStages(upstream, image, credentials !== undefined),
    ])
    const isReached = steps.every(({ step, outcome }) => outcome !== 'failed' || !isBelowTls(step))
    const modes = isPlain || !isReached ? [] : await tryModes(upstream, config, tls)
    return {
      upstream: name,
      url: config.url,
      gateway: config.gateway,
      ...(config.proxy === undefined ? {} : { proxy: config.proxy }),
      mode: isPlain ? 'plain' : modeOf(tls.hasClientCertificate, config.tls.verify),
      ok: steps.every(({ outcome }) => outcome !== 'failed'),
      steps: steps.map((step) => ({ ...step, detail: redact(step.detail) })),
      certificates: line.certificates(),
      modes,
      warnings: warningsOf(prepared, modes),
    }
  } finally {
    line.close()
    await upstream.agents.close()
  }
}

function isBelowTls(step: StepName): boolean {
  return step === 'dns' || step === 'tcp' || step === 'proxy'
}

/** What is asked of the registry, each by what the one before has found. */
function registryStages(
  upstream: Upstream,
  given: Image | undefined,
  hasCredentials: boolean,
): Stage[] {
  let image = given
  let found: { image: Image; facts: ManifestFacts; digest: Digest } | undefined
  const withManifest =
    (check: (manifest: NonNullable<typeof found>) => Promise<StepVerdict>) => async () =>
      found === undefined ? skipped('without a manifest') : check(found)
  return [
    {
      step: 'http',
      run: async () => {
        const { result, ms } = await checkBase(upstream)
        if (result.kind === 'failure') return failed(result, ms)
        return passed(`GET /v2/ is answered ${result.status}`, ms)
      },
    },
    { step: 'auth', run: () => checkAccess(upstream, image, hasCredentials) },
    {
      step: 'manifest',
      run: async () => {
        image ??= await findImage(upstream)
        if (image === undefined) return skipped('it lists no image: name one with --image')
        const asked = image
        return checkManifest(upstream, asked, (facts, digest) => {
          found = { image: asked, facts, digest }
        })
      },
    },
    {
      step: 'range',
      run: withManifest(({ image: { repository }, facts }) =>
        checkRange(upstream, repository, facts),
      ),
    },
    {
      step: 'head',
      run: withManifest((manifest) => checkHead(upstream, manifest.image, manifest.digest)),
    },
    {
      step: 'tags',
      run: withManifest(({ image: { repository } }) => checkTags(upstream, repository)),
    },
    {
      step: 'referrers',
      run: withManifest(({ image: { repository }, digest }) =>
        checkReferrers(upstream, repository, digest),
      ),
    },
  ]
}

function warningsOf({ at, config, tls }: PreparedUpstream, modes: readonly ModeResult[]): string[] {
  const secure = modeOf(tls.hasClientCertificate, true)
  const isNeedless =
    !config.tls.verify && modes.some(({ mode, outcome }) => mode === secure && outcome === 'works')
  return [
    ...tls.warnings.map(({ path, message }) => `${path} ${message}`),
    ...(isNeedless ? [`${at}.tls.verify can be true: its certificate passes the check`] : []),
  ]
}
