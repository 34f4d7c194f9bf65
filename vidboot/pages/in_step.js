"use strict";
// Makes several videos show the moment of the first one, once: call it again and again.
function keepInStep([leader, ...others]) {
  if (!leader || leader.readyState < 2 || leader.seeking) return;
  for (const video of others) {
    if (video.readyState < 2 || video.seeking) continue;
    if (leader.paused !== video.paused) leader.paused ? video.pause() : video.play().catch(() => {});
    // A shorter video waits at its end.
    const moment = Math.min(leader.currentTime, video.duration);
    if (Math.abs(moment - video.currentTime) > 0.06) video.currentTime = moment;
  }
}
