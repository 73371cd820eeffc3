// The images in the cache: what they are, and pinning, taking out and pruning them.
/** @import { Image } from './state.js' */
import { ask, confirmed, createLatest, telling } from './asking.js'
import { fill, find, make, nothing, table } from './dom.js'
import { formatAge, formatBytes } from './format.js'

const page = 100
const latest = createLatest()

/** Shows the first of them, or those that the filter means. */
export async function showImages() {
  const match = /** @type {HTMLInputElement} */ (find('match')).value.trim()
  const query = new URLSearchParams({ limit: String(page), ...(match !== '' && { match }) })
  await latest(
    () => ask(`/images?${query}`),
    (/** @type {{ images: Image[], next?: string }} */ { images, next }) =>
      fill(
        'images',
        images.length === 0
          ? nothing(match === '' ? 'The cache holds no image yet.' : 'No image has such a name.')
          : table('Images', ['image', 'size', 'last pull', 'kept', 'change'], images.map(rowOf)),
        next !== undefined &&
          make(
            'p',
            {},
            `These are the first ${images.length}: narrow them down, or use portcullis images.`,
          ),
      ),
    (error) =>
      fill(
        'images',
        nothing(`The images cannot be shown: ${error instanceof Error ? error.message : ''}`),
      ),
  )
}

/** @param {Image} image */
function rowOf(image) {
  const { name, size, missing, pinnedBy, lastPull } = image
  const isPinned = pinnedBy.includes('operator')
  const verb = isPinned ? 'Unpin' : 'Pin'
  const pin = async () => {
    await ask('/pin', { image: name, pinned: !isPinned })
    return `${name} is ${isPinned ? 'not pinned any more' : 'pinned: it stays whatever happens'}.`
  }
  return [
    make('span', { class: 'name' }, name),
    `${formatBytes(size)}${missing > 0 ? ', in part' : ''}`,
    formatAge(lastPull),
    pinnedBy.length === 0 ? '–' : `pinned by ${pinnedBy.join(' and ')}`,
    make(
      'span',
      { class: 'buttons' },
      make(
        'button',
        {
          type: 'button',
          id: `pin ${name}`,
          'aria-label': `${verb} ${name}`,
          click: () => void changing(pin),
        },
        verb,
      ),
      make(
        'button',
        {
          type: 'button',
          id: `remove ${name}`,
          'aria-label': `Take out ${name}`,
          click: () => void takeOut(image),
        },
        'Take out',
      ),
    ),
  ]
}

/** @param {Image} image */
async function takeOut({ name, ownSize, pinnedBy }) {
  const pinned = pinnedBy.length === 0 ? '' : ` It is pinned by ${pinnedBy.join(' and ')}.`
  const question = `Take ${name} out of the cache? That frees ${formatBytes(ownSize)}; it is fetched again when somebody asks for it.${pinned}`
  if (!(await confirmed(question, 'Take out'))) return
  await changing(async () => {
    const { bytes } = await ask('/evict', { image: name, force: pinnedBy.length > 0 })
    return `${name} has gone: ${formatBytes(bytes)} are free.`
  })
}

/** Asks what would go, and takes it out where the person says so. */
export async function prune() {
  const days = /** @type {HTMLInputElement} */ (find('prune-days')).valueAsNumber
  if (!Number.isInteger(days) || days < 1) {
    await telling(() => Promise.reject(new Error('say after how many days without a pull')))
    return
  }
  const filter = { notPulledFor: `${days}d` }
  await telling(async () => {
    const { removed, bytes } = await ask('/prune', { ...filter, dryRun: true })
    if (removed.length === 0) return `Every image was pulled within ${days} days, or is kept.`
    const question = `Take out ${removed.length} images that nobody pulled for ${days} days? That frees ${formatBytes(bytes)}.`
    if (!(await confirmed(question, 'Take out'))) return 'Nothing was taken out.'
    const done = await ask('/prune', filter)
    return `${done.removed.length} images have gone: ${formatBytes(done.bytes)} are free.`
  })
  await showImages()
}

/** @param {() => Promise<string>} work */
async function changing(work) {
  await telling(work)
  await showImages()
}
