// The guided lessons: what is said, what is asked before it is shown, and how each drives the page.
//
// A part is {say, act} or {ask, choices, right, show}: `act(page)` prepares the page, `show(page)` does what was asked
// about and returns what came out, in words with the page's own numbers.

import { significant } from "../core/format.js";

const percent = (value) => `${significant(100 * value, 2)} %`;

const place = (values) => `(${values.map((value) => significant(value, 2)).join(", ")})`;

const nearest = (levels, t) => levels.reduce((best, level, k) => (Math.abs(level - t) < Math.abs(levels[best] - t) ? k : best), 0);

export const LESSONS = [
  {
    id: "noise",
    title: "What noise does",
    about: "How much of a picture is left when noise is laid over it, and what can still be known.",
    parts: [
      {
        say: "A diffusion model learns from spoiled data. Here the data are points on two moons. The slider under the plane goes from pure noise on the left to clean points on the right; the gold lines are the exact density at that moment.",
        act: async (page) => {
          await page.pick("moons");
          page.layers({ points: true, exact: true });
          await page.sample({ field: "exact", sampler: "euler", steps: 40, classes: "all", weight: 0 });
          page.tab("training");
        },
      },
      {
        ask: "Somebody shows you one noisy point and asks: which noise was added? When is the answer easier?",
        choices: ["With little noise", "With much noise", "It makes no difference"],
        right: 1,
        show: async (page) => {
          const { levels, class: by } = await page.excess();
          const [low, high] = [nearest(levels, 190), nearest(levels, 730)];
          page.go(0.25);
          return `With much noise. Of the noise’s mean square of 2, the best possible guess leaves ${significant(by.floor[low], 2)} unknown at t = ${levels[low]}, and only ${significant(by.floor[high], 2)} at t = ${levels[high]}: seen from far away the data are one small spot, so nearly all of where a point lies is noise. That is the gold line of the right chart, and no network can pass below it.`;
        },
      },
      { say: "So a loss that stays high is no failure. What a network does wrong is only what lies above the floor, which this lab can show because the target is known exactly.", act: async () => {} },
    ],
  },
  {
    id: "score",
    title: "What the score is",
    about: "The arrows that lead from noise to data, near the data and far from them.",
    parts: [
      {
        say: "At every place and every noise level the score points to where points are more likely: it is the gradient of the logarithm of the density. The pretrained network learned it from examples; beside it is the exact one.",
        act: async (page) => {
          await page.pick("eight_gaussians");
          page.tab("field");
          await page.field({ t: 250, quantity: "score", classes: "none" });
        },
      },
      {
        ask: "With very much noise (t = 900), where does the score point at a place beside one of the eight groups?",
        choices: ["To the nearest group", "To the middle of all groups", "Nowhere in particular"],
        right: 1,
        show: async (page) => {
          const far = await page.field({ t: 900, quantity: "x0", classes: "none" });
          return `To the middle of all. The panels now show the estimate of the clean point: at this noise it is ${significant(far.lengths.exact, 2)} from the centre on average, though every group lies at 1.41. The choice of a group is made later, as the noise falls; take the slider down and watch the field divide.`;
        },
      },
      {
        say: "Now the noise is low. Between the groups the arrows turn sharply: a small difference there decides where a point ends. Compare the last panel, the difference between learned and exact.",
        act: async (page) => {
          await page.field({ t: 250, quantity: "score", classes: "none" });
        },
      },
    ],
  },
  {
    id: "steps",
    title: "Why few steps fail",
    about: "A sampler follows a curve in straight pieces. How many are enough, and for which sampler?",
    parts: [
      {
        say: "This is Heun’s method in 4 steps, on the pretrained network. It corrects each step with a second look, and so calls the network 7 times.",
        act: async (page) => {
          await page.pick("swiss_roll");
          page.layers({ points: true, path: true });
          page.tab("quality");
          await page.sample({ field: "learned", sampler: "heun", steps: 4, classes: "all", weight: 0 });
        },
      },
      {
        ask: "Which sampler is nearer to the target in 4 steps, and which in 8?",
        choices: ["Heun in both: it is of second order", "DDIM in both", "DDIM in 4 steps, Heun in 8"],
        right: null,
        show: async (page) => {
          page.quality({ n: "2000", repeats: 1, measure: "mmd2", ddim: true, heun: true });
          await page.measureQuality();
          const value = (sampler, steps) => page.summary("mmd2", sampler).find(([at]) => at === steps)?.[2] ?? NaN;
          const text = [4, 8].map((steps) => `in ${steps} steps MMD² is ${significant(value("ddim", steps), 2)} for DDIM and ${significant(value("heun", steps), 2)} for Heun`).join("; ");
          return `Measured now, ${text}. Second order pays once the steps are short enough for it: on Karras’s grid from σ 80, four steps are not. A chart of one small sample would not show the rest: look at the gold band, which is how far the target is from itself.`;
        },
      },
      { say: "Choose “evaluations” for the axis: Heun takes two for each step, so the comparison by steps flatters it.", act: async (page) => page.quality({ axis: "calls" }) },
    ],
  },
  {
    id: "guidance",
    title: "What guidance does to the density",
    about: "Guidance makes samples more typical of their class. What does it cost?",
    parts: [
      {
        say: "One class of two, the upper moon, without guidance, on the exact field: so nothing you see is the network’s fault.",
        act: async (page) => {
          await page.pick("moons");
          page.layers({ points: true, exact: true });
          page.tab("field");
          page.note(await page.sample({ field: "exact", sampler: "heun", steps: 32, classes: 0, weight: 0 }));
          await page.field({ t: 300, classes: "0", quantity: "score" });
        },
      },
      {
        ask: "With guidance w = 3, what becomes of the cloud?",
        choices: ["It stays as it is, only sharper", "It shrinks and moves away from the other moon", "It spreads out"],
        right: 1,
        show: async (page) => {
          const before = page.noted();
          const after = await page.sample({ field: "exact", sampler: "heun", steps: 32, classes: 0, weight: 3 });
          return `Its spread goes from ${significant(before.spread, 3)} to ${significant(after.spread, 3)}, and its middle moves from ${place(before.middle)} to ${place(after.middle)}. The gold lines are still the true density of the class: guided samples leave part of it empty, and this with a perfect field. Guidance is not sampling from a sharper version of the data.`;
        },
      },
      {
        say: "Now guidance acts in an interval of noise only, between σ 0.2 and 1. The class is chosen there; outside, guidance only distorts. Compare the cloud.",
        act: async (page) => {
          await page.sample({ field: "exact", sampler: "heun", steps: 32, classes: 0, weight: 3, interval: true, low: 0.2, high: 1 });
        },
      },
    ],
  },
  {
    id: "null",
    title: "Why a null-token error hides",
    about: "Good samples do not prove a good field. The part that guidance needs is the part nobody looks at.",
    parts: [
      {
        say: "A small network is being trained for a few seconds with the usual setting: the class is hidden from it for one point in ten, so that it also learns the field without class, which guidance pushes away from.",
        act: async (page) => {
          await page.pick("swiss_roll");
          page.tab("training");
          await page.train({ objective: "eps", schedule: "cosine", label_drop: 0.1, steps: 2500, fourier: false });
          await page.sample({ field: "learned", sampler: "heun", steps: 24, classes: "all", weight: 0 });
        },
      },
      {
        ask: "The samples look right. How good is the field without class, compared with the one with class?",
        choices: ["Equally good: it is one network", "Several times worse", "Better: it is easier to learn"],
        right: 1,
        show: async (page) => {
          const { class: known, null: hidden, times } = await page.excess();
          return `Its error above the floor is ${percent(hidden.relative)}, against ${percent(known.relative)} with class: ${significant(times, 2)} times as much. It has seen a tenth of the data, and no sample that you have looked at came from it.`;
        },
      },
      {
        say: "With guidance w = 3 this error is multiplied by three and enters every sample. The field panel shows learned and exact beside each other, guided. More hidden classes (0.2) and Fourier features make it several times smaller.",
        act: async (page) => {
          page.tab("field");
          await page.sample({ field: "learned", sampler: "heun", steps: 24, classes: 0, weight: 3 });
          await page.field({ t: 200, classes: "0", quantity: "score" });
        },
      },
    ],
  },
  {
    id: "memory",
    title: "Memorise or generalise",
    about: "The loss has a perfect minimiser that only repeats its training data. Why do networks not find it?",
    parts: [
      {
        say: "For a finite training set the best possible denoiser is known in closed form. Here it is made of 20 points: whatever the noise, every sample ends on one of the 20.",
        act: async (page) => {
          await page.pick("moons");
          page.layers({ points: true });
          page.tab("memory");
          await page.sample({ field: "empirical", points: 20, sampler: "heun", steps: 24, classes: "all", weight: 0 });
        },
      },
      {
        ask: "A network is trained on 5 points, another on 5,000, both for 1,500 steps. Which copies its training points?",
        choices: ["Both", "The one with 5 points", "Neither"],
        right: 1,
        show: async (page) => {
          const rows = await page.memory(1500);
          const [few, many] = [rows[0], rows.at(-1)];
          return `With ${few.n} points ${percent(few.copies.learned)} of the samples are copies (${percent(few.copies.fresh)} of fresh points would count as such by chance); with ${many.n.toLocaleString("en")}, ${percent(many.copies.learned)}, and chance alone makes ${percent(many.copies.fresh)}. The first has learned its points by heart: on the whole target its error is ${percent(few.excess)} above the floor, that of the other ${percent(many.excess)}. In this time a network of this size does not learn 5,000 points by heart, and so it draws the moons instead.`;
        },
      },
    ],
  },
  {
    id: "budget",
    title: "Steps or field?",
    about: "Two errors end in one picture. The exact field tells them apart.",
    parts: [
      {
        say: "The same start goes through the learned field (burgundy) and through the exact one (gold). Drag the ring to move it.",
        act: async (page) => {
          await page.pick("rings");
          page.layers({ points: true, path: true });
          page.tab("budget");
          await page.sample({ field: "learned", sampler: "heun", steps: 12, classes: "all", weight: 0 });
        },
      },
      {
        ask: "For this network, from about how many steps of Heun’s method on do more steps no longer help?",
        choices: ["8 to 16", "32 to 64", "More always help"],
        right: null,
        show: async (page) => {
          const data = await page.budget();
          const { enough } = data;
          if (enough === null) return `The error of the field is ${significant(data.model, 2)}, whatever the steps. That of the steps is larger in all that were tried: more steps still help.`;
          return `The error of the field is ${significant(data.model, 2)}, whatever the steps. From ${enough} steps on that of the steps is smaller than that (${significant(data.integration[data.steps.indexOf(enough)], 2)}): from there on only a better network helps.`;
        },
      },
    ],
  },
];
