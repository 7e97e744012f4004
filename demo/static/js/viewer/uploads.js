/* Files on their way to the app. */

const UPLOADS_AT_ONCE = 4;
// Without word from the app for so long, a question is sent all the same.
const OPENING_LIMIT = 60_000;

/** Send files under neutral names, since file names name patients, then tell Python. */
export async function openFiles(viewer, files, add = false) {
  const chosen = [...files].filter((file) => !/^(\.|Thumbs\.db$|DICOMDIR$)/i.test(file.name));
  const path = (file) => file.webkitRelativePath || file.name;
  const wanted = chosen
    .filter((file) => file.size)
    // IM2 before IM10: slices without a position or a number are shown in this order.
    .sort((one, two) => path(one).localeCompare(path(two), "en", { numeric: true }));
  if (viewer.uploading) {
    viewer.say("Another scan is being opened; wait for it.");
    return;
  }
  const report = (problem) => viewer.trigger("opened", { paths: [], problem });
  if (!wanted.length) {
    report(chosen.length ? "empty" : "nothing");
    return;
  }
  viewer.uploading = true;
  viewer.opening = new Promise((resolve) => {
    viewer.opened = resolve;
    setTimeout(resolve, OPENING_LIMIT);
  });
  viewer.sending = {
    names: wanted.map(path),
    empty: chosen.filter((file) => !file.size).map(path),
  };
  const paths = new Array(wanted.length);
  let next = 0;
  let done = 0;
  const work = async () => {
    while (next < wanted.length) {
      const index = next++;
      const plain = new File([wanted[index]], `scan-${index}`, {
        type: "application/octet-stream",
      });
      paths[index] = (await viewer.upload(plain)).path;
      done++;
      if (wanted.length > 1) viewer.busy(`Receiving ${done} of ${wanted.length} files`);
    }
  };
  viewer.busy("Receiving the file");
  try {
    if (wanted.some((file) => file.size > viewer.props.file_bytes)) throw new RangeError();
    await Promise.all(Array.from({ length: UPLOADS_AT_ONCE }, work));
    viewer.busy("Opening");
    viewer.trigger("opened", { paths, add: add && viewer.order.length > 0 });
  } catch (error) {
    viewer.busy("");
    viewer.sending = null;
    report(error instanceof RangeError ? "large" : "lost");
  } finally {
    viewer.uploading = false;
  }
}
