// Draws each topic in its section of the page.
/** @import { Certificate, Download, Refusal, State, Upstream } from './state.js' */
import { concernsOf } from './concerns.js'
import { fill, find, make, nothing, table } from './dom.js'
import { formatAge, formatBytes, formatLeft } from './format.js'

/** How an endpoint is asked. @type {Record<string, string>} */
const modes = {
  plain: 'without TLS',
  'one-way secure': 'TLS',
  'two-way secure': 'mutual TLS',
  'one-way insecure': 'TLS, its certificate not checked',
  'two-way insecure': 'mutual TLS, its certificate not checked',
}

/** What each topic changes. @type {Record<string, (state: State) => void>} */
export const sections = {
  gateway({ gateway }) {
    if (gateway === undefined) return
    find('version').textContent = `${gateway.version}, started ${formatAge(gateway.started)}`
  },
  holding({ holding }) {
    if (holding === undefined) return
    const { bytes, entries, maxBytes, freeBytes } = holding
    const share = maxBytes === 0 ? 0 : Math.min(1, bytes / maxBytes)
    const most = maxBytes === 0 ? '' : ` of at most ${formatBytes(maxBytes)}`
    const free = freeBytes === undefined ? '' : `; ${formatBytes(freeBytes)} of the disk are free`
    fill(
      'holding',
      meter('How full the cache is', share),
      make('p', {}, `${formatBytes(bytes)}${most} in ${entries} files${free}.`),
    )
  },
  downloads({ downloads = [] }) {
    fill(
      'downloads',
      downloads.length === 0
        ? nothing('Nothing is being fetched.')
        : make('ul', { class: 'cards' }, ...downloads.map(downloadCard)),
    )
  },
  upstreams({ upstreams = [] }) {
    fill(
      'upstreams',
      upstreams.length === 0
        ? nothing('No upstream is configured.')
        : make('ul', { class: 'cards' }, ...upstreams.map(upstreamCard)),
    )
  },
  certificates({ certificates = [] }) {
    const row = (/** @type {Certificate} */ one) => [
      mark(
        Date.parse(one.expires) <= Date.now() ? 'bad' : one.isDue ? 'warn' : 'good',
        formatLeft(one),
      ),
      one.kind === 'crl' ? `revocation list of ${one.name}` : one.name,
      make('code', {}, one.use),
    ]
    fill(
      'certificates',
      certificates.length === 0
        ? nothing('No certificate is in use: nothing is encrypted, and nobody is identified.')
        : table(
            'Certificates and revocation lists',
            ['left', 'name', 'used as'],
            certificates.map(row),
          ),
    )
  },
  refusals({ refusals = [] }) {
    const row = (/** @type {Refusal} */ one) => [
      formatAge(one.at),
      `${one.who ?? 'unknown'}${one.client === undefined ? '' : `, ${one.client}`}`,
      [one.action, one.repository].filter(Boolean).join(' '),
      one.reason.replaceAll('_', ' '),
    ]
    fill(
      'refusals',
      refusals.length === 0
        ? nothing('Nobody was refused since the start.')
        : table('Refusals', ['when', 'who', 'what', 'why'], refusals.slice(0, 10).map(row)),
    )
  },
  sessions({ sessions = [] }) {
    fill(
      'sessions',
      table(
        'Connections',
        ['who', 'connections', 'from'],
        sessions
          .slice(0, 20)
          .map(({ identity, how, connections, addresses }) => [
            how === 'refused' ? `refused: ${identity.replaceAll('_', ' ')}` : identity,
            String(connections),
            addresses.join(', '),
          ]),
      ),
    )
  },
}

/** What several topics make: what is wrong comes first. @param {State} state */
export function showConcerns(state) {
  const concerns = concernsOf(state)
  const isBad = concerns.some(({ level }) => level === 'bad')
  const summary = find('summary')
  summary.className = concerns.length === 0 ? 'good' : isBad ? 'bad' : 'warn'
  summary.textContent =
    concerns.length === 0
      ? 'All is well'
      : `${concerns.length} ${concerns.length === 1 ? 'thing' : 'things'} to look at`
  document.title = concerns.length === 0 ? 'Portcullis' : `(${concerns.length}) Portcullis`
  fill(
    'concerns',
    concerns.length > 0 &&
      make(
        'ul',
        {},
        ...concerns.map(({ level, title, advice }) =>
          make(
            'li',
            { class: level },
            make('strong', {}, title),
            make('p', {}, ...withCode(advice)),
          ),
        ),
      ),
  )
}

/** What stands in backticks is to be typed. @param {string} text */
function withCode(text) {
  return text.split('`').map((part, index) => (index % 2 === 1 ? make('code', {}, part) : part))
}

/** @param {Download} download */
function downloadCard({ repository, digest, size, bytes, readers }) {
  const of = size === undefined ? '' : ` of ${formatBytes(size)}`
  const waiting = readers === 1 ? 'one client waits' : `${readers} clients wait`
  return make(
    'li',
    {},
    make('strong', { class: 'name' }, repository),
    make('code', { class: 'digest' }, digest.slice(0, 19)),
    size !== undefined && meter(`Download for ${repository}`, size === 0 ? 1 : bytes / size),
    make('p', {}, `${formatBytes(bytes)}${of}, ${readers === 0 ? 'nobody waits' : waiting}`),
  )
}

/** @param {Upstream} upstream */
function upstreamCard({ name, offline, circuit, endpoints, inUse, certificates }) {
  const states = /** @type {const} */ ({
    closed: ['good', 'is asked'],
    open: ['bad', 'is left alone'],
    'half-open': ['warn', 'is tried again'],
  })
  const [level, word] = offline ? /** @type {const} */ (['warn', 'offline']) : states[circuit.state]
  return make(
    'li',
    {},
    make('strong', { class: 'name' }, name),
    mark(level, word),
    make(
      'dl',
      {},
      ...endpoints.flatMap(({ url, mode, quota, lastFailure }) => [
        make('dt', {}, url === inUse ? 'in use' : 'another'),
        make(
          'dd',
          {},
          make('span', { class: 'name' }, url),
          make('span', { class: 'detail' }, modes[mode] ?? mode),
          quota !== undefined &&
            make('span', { class: 'detail' }, `${quota.remaining} of ${quota.limit} pulls left`),
          lastFailure !== undefined &&
            make(
              'span',
              { class: 'detail' },
              `failed ${formatAge(lastFailure.at)}: ${lastFailure.message}`,
            ),
        ),
      ]),
      ...certificates.flatMap((one) => [
        make('dt', {}, 'shows'),
        make('dd', {}, one.name, make('span', { class: 'detail' }, formatLeft(one))),
      ]),
    ),
  )
}

/**
 * @param {string} label
 * @param {number} share from 0 to 1
 */
function meter(label, share) {
  const percent = Math.round(share * 100)
  return make('progress', { max: 100, value: percent, 'aria-label': label }, `${percent} %`)
}

/**
 * @param {'good' | 'warn' | 'bad'} level
 * @param {string} text
 */
function mark(level, text) {
  return make('span', { class: `mark ${level}` }, text)
}
