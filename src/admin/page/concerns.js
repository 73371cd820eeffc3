// What is wrong, in words, with what to do about it: the worst first. Pure.
/** @import { Certificate, Concern, State, Upstream } from './state.js' */
import { formatAge, formatLeft, formatSpan } from './format.js'

/**
 * @param {State} state
 * @param {number} [now]
 * @returns {Concern[]}
 */
export function concernsOf(state, now = Date.now()) {
  const { health, upstreams = [], certificates = [], shelf, reloads = [] } = state
  const found = [
    ...(health?.problems ?? []).map((problem) =>
      bad(
        `Pulls cannot be served: ${problem}`,
        'The gateway is out of service until this is mended.',
      ),
    ),
    ...upstreams.flatMap((upstream) => ofUpstream(upstream, now)),
    ...certificates.filter(({ isDue }) => isDue).map((one) => ofCertificate(one, now)),
    ...(shelf?.images ?? [])
      .filter(({ isMissing }) => isMissing)
      .map(({ image, problem }) =>
        warn(
          `${image} is missing on the shelf`,
          problem ?? 'It is pulled as soon as its upstream can be asked.',
        ),
      ),
    ...ofReload(reloads, now),
    ...(health?.warnings ?? [])
      .filter((warning) => !isToldOtherwise(warning, certificates))
      .map((warning) => warn(sentence(warning), 'Pulls are served meanwhile.')),
  ]
  return found.toSorted((a, b) => Number(a.level === 'warn') - Number(b.level === 'warn'))
}

/**
 * @param {Upstream} upstream
 * @param {number} now
 * @returns {Concern[]}
 */
function ofUpstream({ name, offline, circuit, endpoints, inUse, isQuotaShort }, now) {
  if (offline) return []
  // In the order in which they are asked.
  const place = endpoints.findIndex(({ url }) => url === inUse)
  const failure = endpoints[place]?.lastFailure
  const before = endpoints.slice(0, Math.max(0, place))
  const passedOver = before.find(({ restsUntil }) => restsUntil !== undefined)
  const found = []
  if (circuit.state === 'open') {
    const since =
      circuit.since === undefined ? '' : `, for ${formatSpan(now - Date.parse(circuit.since))}`
    const why = failure === undefined ? '' : `${sentence(failure.message)}. `
    found.push(
      bad(
        `${name} cannot be asked${since}`,
        `${why}What is cached is served; \`portcullis doctor ${name}\` looks closer.`,
      ),
    )
  } else if (circuit.state === 'half-open' && circuit.since !== undefined) {
    const why = failure === undefined ? '' : `${sentence(failure.message)}. `
    found.push(
      warn(
        `${name} failed ${formatAge(circuit.since, now)}, and has not answered since`,
        `${why}The next request asks it again.`,
      ),
    )
  } else if (passedOver !== undefined) {
    const why = passedOver.lastFailure?.message ?? 'It has failed'
    found.push(warn(`${name} is asked at ${inUse}, in place of ${passedOver.url}`, sentence(why)))
  }
  if (isQuotaShort) {
    found.push(
      warn(
        `Few pulls are left at ${name}`,
        'Tags are asked for by HEAD only; log in there, or raise its quota.',
      ),
    )
  }
  if (endpoints.some(({ mode }) => mode.includes('insecure'))) {
    found.push(
      warn(
        `The certificate of ${name} is not checked`,
        `Whoever answers there is believed: set upstreams.${name}.tls.ca and take tls.verify out.`,
      ),
    )
  }
  return found
}

/**
 * @param {Certificate} certificate
 * @param {number} now
 */
function ofCertificate(certificate, now) {
  const { kind, use, file, name, expires } = certificate
  const isOver = Date.parse(expires) <= now
  const what = kind === 'crl' ? `The revocation list of ${name}` : `The certificate ${name}`
  const advice =
    kind === 'crl'
      ? `Put a new list at ${file}: it is taken into use by itself.`
      : `Renew ${file} (${use}): it is taken into use by itself.`
  return (isOver ? bad : warn)(`${what}: ${formatLeft(certificate, now)}`, advice)
}

/**
 * @param {NonNullable<State['reloads']>} reloads the newest first
 * @param {number} now
 */
function ofReload(reloads, now) {
  const parts = new Set()
  return reloads.flatMap(({ part, result, problems, at }) => {
    if (parts.has(part)) return []
    parts.add(part)
    if (result === 'ok') return []
    const title = `The last reload was refused, ${formatAge(at, now)}: what was in use before stays in use`
    return [warn(title, problems.map(sentence).join('. '))]
  })
}

/**
 * Expiry is told of each certificate anyhow.
 * @param {string} warning
 * @param {readonly Certificate[]} certificates
 */
function isToldOtherwise(warning, certificates) {
  return certificates.some(({ use, isDue }) => isDue && warning.startsWith(`${use}: expired`))
}

/**
 * @param {string} title
 * @param {string} advice
 * @returns {Concern}
 */
function bad(title, advice) {
  return { level: 'bad', title, advice }
}

/**
 * @param {string} title
 * @param {string} advice
 * @returns {Concern}
 */
function warn(title, advice) {
  return { level: 'warn', title, advice }
}

/** @param {string} text */
function sentence(text) {
  return text.slice(0, 1).toUpperCase() + text.slice(1)
}
