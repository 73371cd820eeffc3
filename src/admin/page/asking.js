// Asks the admin API to do something, and tells how it went.
import { find } from './dom.js'

/**
 * The answer. Throws an Error that says what to do.
 * @param {string} path below `/api/v1`
 * @param {object} [body] changes something
 */
export async function ask(path, body) {
  const response = await fetch(`/api/v1${path}`, {
    ...(body !== undefined && {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    }),
  })
  const answer = await response.json()
  if (!response.ok) throw new Error(answer.detail ?? 'the gateway refuses it')
  return answer
}

/**
 * Returns what shows what some work brings, or why it failed: of what was asked for last only, whatever
 * comes first.
 */
export function createLatest() {
  let count = 0
  /**
   * @template Result
   * @param {() => Promise<Result>} work
   * @param {(result: Result) => void} show
   * @param {(error: unknown) => void} fail
   */
  return async (work, show, fail) => {
    count += 1
    const own = count
    try {
      const result = await work()
      if (own === count) show(result)
    } catch (error) {
      if (own === count) fail(error)
    }
  }
}

/**
 * Tells what `work` resolves to, or what is wrong.
 * @param {() => Promise<string>} work
 */
export async function telling(work) {
  const place = find('message')
  try {
    place.textContent = await work()
    place.className = 'message good'
  } catch (error) {
    place.textContent = `That did not work: ${error instanceof Error ? error.message : String(error)}`
    place.className = 'message bad'
  }
}

/**
 * Whether the person says yes.
 * @param {string} question
 * @param {string} yes
 * @returns {Promise<boolean>}
 */
export async function confirmed(question, yes) {
  const dialog = /** @type {HTMLDialogElement} */ (find('confirm'))
  find('confirm-question').textContent = question
  find('confirm-yes').textContent = yes
  dialog.returnValue = ''
  dialog.showModal()
  await new Promise((resolve) => {
    dialog.addEventListener('close', resolve, { once: true })
  })
  return dialog.returnValue === 'yes'
}
