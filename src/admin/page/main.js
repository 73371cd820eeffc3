// The status page: follows the events of the gateway, and shows what they say.
/** @import { State } from './state.js' */
import { find } from './dom.js'
import { prune, showImages } from './images.js'
import { createPlots } from './plots.js'
import { sections, showConcerns } from './sections.js'

/** Topics that change what is to be looked at. */
const concerning = ['health', 'upstreams', 'certificates', 'shelf', 'reloads']
const topics = new Set([...Object.keys(sections), ...concerning, 'traffic'])
/** Ages grow although nothing happens, ms. */
const redrawEvery = 15_000
const tryAgainAfter = 3000

/** @type {State} */
const state = {}
const plots = createPlots()
/** @type {number | undefined} */
let imagesSoon

/** @param {string} topic */
function show(topic) {
  sections[topic]?.(state)
  if (topic === 'traffic') plots.show(state.traffic ?? [])
  if (concerning.includes(topic)) showConcerns(state)
}

/** Many images change at once, and nobody reads as fast. */
function showImagesSoon() {
  imagesSoon ??= window.setTimeout(() => {
    imagesSoon = undefined
    void showImages()
  }, 1000)
}

function follow() {
  const events = new EventSource('/api/v1/events')
  events.addEventListener('open', () => connected(true))
  events.addEventListener('error', () => {
    connected(false)
    // The browser goes on by itself, but for an answer that is none of events.
    if (events.readyState === EventSource.CLOSED) window.setTimeout(follow, tryAgainAfter)
  })
  for (const topic of topics) {
    events.addEventListener(topic, ({ data }) => {
      const before = state.gateway?.started
      Object.assign(state, { [topic]: JSON.parse(data) })
      if (topic === 'gateway' && before !== state.gateway?.started) showImagesSoon()
      if (topic === 'holding') showImagesSoon()
      show(topic)
    })
  }
}

/** @param {boolean} isConnected */
function connected(isConnected) {
  const place = find('connection')
  document.body.classList.toggle('stale', !isConnected)
  place.textContent = isConnected
    ? 'live'
    : 'The gateway does not answer: what you see is as it was. Trying again …'
}

find('filter').addEventListener('submit', (event) => {
  event.preventDefault()
  void showImages()
})
find('prune').addEventListener('submit', (event) => {
  event.preventDefault()
  void prune()
})
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  plots.forget()
  show('traffic')
})
window.setInterval(() => {
  for (const topic of topics) if (topic !== 'traffic') show(topic)
}, redrawEvery)
follow()
