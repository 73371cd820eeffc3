// Numbers and times for people.

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

/**
 * Such as `1.4 GiB`.
 * @param {number} count
 */
export function formatBytes(count) {
  let value = count
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${value.toFixed(unit === 0 || value >= 100 ? 0 : 1)} ${units[unit]}`
}

/**
 * Such as `3 minutes`: the largest unit that fits.
 * @param {number} ms
 */
export function formatSpan(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000))
  /** @type {[number, string][]} */
  const spans = [
    [86_400, 'day'],
    [3600, 'hour'],
    [60, 'minute'],
    [1, 'second'],
  ]
  const [size, name] = spans.find(([size]) => seconds >= size) ?? [1, 'second']
  const count = Math.floor(seconds / size)
  return `${count} ${name}${count === 1 ? '' : 's'}`
}

/**
 * Such as `3 minutes ago`.
 * @param {string} time ISO 8601
 * @param {number} [now]
 */
export function formatAge(time, now = Date.now()) {
  const age = now - Date.parse(time)
  return age < 5000 ? 'just now' : `${formatSpan(age)} ago`
}

/**
 * What is left of a certificate or a list, such as `12 days left`.
 * @param {{ expires: string, kind: string }} certificate
 * @param {number} [now]
 */
export function formatLeft({ expires, kind }, now = Date.now()) {
  const left = Date.parse(expires) - now
  if (left > 0) return `${formatSpan(left)} left`
  return `${kind === 'crl' ? 'outdated' : 'expired'} ${formatSpan(-left)} ago`
}
