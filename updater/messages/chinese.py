"""What is told in Chinese (simplified), as platform engineers write it; commands and names stay as they are."""

# ruff: noqa: RUF001 - the full-width marks are Chinese punctuation

from __future__ import annotations

import re

from updater.messages.words import Labels, Reasoned, Told, Words
from updater.model.event import Kind

_POLICY, _DETAILS, _ERROR, _EARLIER = "策略", "详情", "错误", "此前的错误"
_PULL_REQUEST = "查看合并请求"
_FAILING = "自 {since} 起持续失败"

_KINDS = {
    Kind.IMAGE_UPDATED: Told("{name} 已更新[：{change}]", "{n} 个镜像已更新", "{n} 个镜像已更新", _POLICY),
    Kind.UPDATE_AVAILABLE: Told(
        "{name} 有新版本[：{change}]",
        "{n} 个镜像有新版本",
        "{n} 个镜像有新版本",
        _POLICY,
        "该条目仅监视、不写入（`update: []`）：请在 Git 中手动修改版本，或在 `update` 中指定写入位置",
        still="自 {since} 起尚未更新",
    ),
    Kind.UPDATE_HELD: Told(
        "{name} 暂缓更新[（{change}）][：{reason}]",
        "{n} 个更新已暂缓",
        "{n} 个更新已暂缓",
        _DETAILS,
        still="自 {since} 起仍处于暂缓状态",
    ),
    Kind.UPDATE_FAILED: Told(
        "{name} 更新失败[：{change}]",
        "{n} 个更新失败",
        "{n} 个更新失败",
        _ERROR,
        "系统会自动重试；如持续失败，可执行 `updater check[ {command}] --diff` 查看将要写入的内容",
        still=_FAILING,
    ),
    Kind.UPDATE_UNREFERENCED: Told(
        "Git 中没有文件引用 {name}",
        "{n} 个镜像未被引用",
        "{n} 个镜像未被引用",
        _DETAILS,
        "请在 Git 中引用该镜像，或删除对应条目；执行 `updater find` 可列出所有引用",
        still="自 {since} 起仍未被引用",
    ),
    Kind.SCAN_FAILED: Told(
        "{name} 扫描失败",
        "{n} 项扫描失败",
        "{n} 项扫描失败",
        _ERROR,
        "系统会自动重试；如持续失败，请执行 `updater check[ {command}]` 排查镜像仓库及其凭据",
        still=_FAILING,
    ),
    Kind.SCAN_RECOVERED: Told("{name} 扫描已恢复", "{n} 项扫描已恢复", "{n} 项扫描已恢复", _EARLIER),
    Kind.PUSH_REJECTED: Told(
        "推送[到 {repository} 仓库][ {branch} 分支]被拒绝",
        "{n} 次推送被拒绝",
        "{n} 次推送被拒绝",
        _ERROR,
        "请允许 updater 推送[到 {repository} 仓库][的 {branch} 分支]，或调整 `write_back`",
        still="自 {since} 起仍被拒绝",
    ),
    Kind.PULL_REQUEST_OPENED: Told(
        "已创建合并请求：{name}[ {change}]",
        "已创建 {n} 个合并请求",
        "已创建 {n} 个合并请求",
        _POLICY,
        "请评审该合并请求，然后合并或关闭",
        link=_PULL_REQUEST,
        still="自 {since} 起仍未合并",
    ),
    Kind.PULL_REQUEST_MERGED: Told(
        "合并请求已合并：{name}[ {change}]",
        "{n} 个合并请求已合并",
        "{n} 个合并请求已合并",
        _DETAILS,
        link=_PULL_REQUEST,
    ),
    Kind.PULL_REQUEST_CLOSED: Told(
        "合并请求未合并即被关闭：{name}[ {change}]",
        "{n} 个合并请求被关闭",
        "{n} 个合并请求被关闭",
        _DETAILS,
        "出现更高版本后会自动继续；如需立即恢复，请执行 `updater resume NAME`",
        link=_PULL_REQUEST,
    ),
    Kind.HUMAN_ROLLBACK: Told(
        "{name} 已被人工回退[到 {old}][，暂不更新到 {new}]",
        "{n} 个镜像被人工回退",
        "{n} 个镜像被人工回退",
        _DETAILS,
        "出现更高版本后会自动继续；如需立即恢复，请执行 `updater resume {command}`",
        still="自 {since} 起仍暂停更新",
    ),
    Kind.HOLD_EXPIRED: Told("{name} 的暂停已到期，恢复自动更新", "{n} 个暂停已到期", "{n} 个暂停已到期", _DETAILS),
    Kind.MOVED_TAG: Told(
        "{name} 暂缓更新[（{change}）]：标签被重新推送，内容已改变",
        "{n} 个标签被重新推送",
        "{n} 个标签被重新推送",
        _DETAILS,
        "请先确认重新推送的原因；确认无误后执行 `updater approve {command}`，或设置 `moved_tag: follow`",
        still="自 {since} 起仍处于暂缓状态",
    ),
    Kind.FLAPPING: Told(
        "{name} 暂缓更新[（{change}）]：版本来回变动",
        "{n} 个镜像版本来回变动",
        "{n} 个镜像版本来回变动",
        _DETAILS,
        "请检查是否有其他更新工具在修改同一位置",
        still="自 {since} 起仍处于暂缓状态",
    ),
    Kind.REALM_UNTRUSTED: Told(
        "{registry} 要求将凭据发送到不受信任的主机[ {new}]，凭据未发送",
        "{n} 个认证主机不受信任",
        "{n} 个认证主机不受信任",
        _DETAILS,
        "如确认该主机可信，请将其加入该镜像仓库的 `trusted_realms`",
        still="自 {since} 起仍不受信任",
    ),
    Kind.SYNC_STARTED: Told(
        "应用 {name} 开始同步[（集群 {cluster}）]", "{n} 个应用开始同步", "{n} 个应用开始同步", _DETAILS
    ),
    Kind.SYNC_SUCCEEDED: Told(
        "应用 {name} 同步成功[（集群 {cluster}）]", "{n} 个应用同步成功", "{n} 个应用同步成功", _DETAILS
    ),
    Kind.SYNC_FAILED: Told(
        "应用 {name} 同步失败[（集群 {cluster}）]",
        "{n} 个应用同步失败",
        "{n} 个应用同步失败",
        _ERROR,
        "请根据错误信息修复；执行 `updater sync {command}` 可立即重试",
        still=_FAILING,
    ),
    Kind.OUT_OF_SYNC: Told(
        "应用 {name} 与 Git 不一致[（集群 {cluster}）]",
        "{n} 个应用与 Git 不一致",
        "{n} 个应用与 Git 不一致",
        _DETAILS,
        "执行 `updater diff {command}` 查看差异，执行 `updater sync {command}` 重新同步",
        still="自 {since} 起仍不一致",
    ),
    Kind.HEALTH_DEGRADED: Told(
        "应用 {name} 健康状态异常[（集群 {cluster}）]",
        "{n} 个应用健康状态异常",
        "{n} 个应用健康状态异常",
        _DETAILS,
        "请检查该应用；如由最近一次更新引起，可执行 `updater rollback` 回退",
        still="自 {since} 起仍未恢复",
    ),
    Kind.HEALTH_RECOVERED: Told(
        "应用 {name} 已恢复健康[（集群 {cluster}）]", "{n} 个应用已恢复健康", "{n} 个应用已恢复健康", _EARLIER
    ),
    Kind.CLUSTER_UNREACHABLE: Told(
        "集群 {cluster} 无法连接",
        "{n} 个集群无法连接",
        "{n} 个集群无法连接",
        _ERROR,
        "请检查集群、网络和 kubeconfig；恢复之前不会向该集群同步",
        still="自 {since} 起仍无法连接",
    ),
    Kind.CLUSTER_RECOVERED: Told("集群 {cluster} 已恢复连接", "{n} 个集群已恢复连接", "{n} 个集群已恢复连接", _EARLIER),
    Kind.CLUSTERS_DIFFER: Told(
        "{name} 在各集群中不一致",
        "{n} 个应用在各集群中不一致",
        "{n} 个应用在各集群中不一致",
        _DETAILS,
        "执行 `updater apps --differ` 查看不一致之处",
        still="自 {since} 起仍不一致",
    ),
    Kind.CONFIG_REJECTED: Told(
        "新配置有误，未生效，继续使用原配置",
        "{n} 份新配置未生效",
        "{n} 份新配置未生效",
        _ERROR,
        "请修正配置；执行 `updater validate` 可查看全部错误及其位置",
        still="自 {since} 起仍未生效",
    ),
}

_BACK = Told(
    "{name} 已回退[：{change}]",
    "{n} 个镜像已回退",
    "{n} 个镜像已回退",
    _DETAILS,
    "已暂停更新；如需恢复，请执行 `updater resume {command}`",
)

_REASONS = {
    "up_to_date": Reasoned("已是最新"),
    "no_match": Reasoned("没有符合策略的标签", "请检查 `policy` 和 `tags`：`updater explain {command}`"),
    "older": Reasoned("符合策略的标签都比当前版本旧"),
    "level": Reasoned(
        "超出允许的升级级别", "如只放行这一次，请执行 `updater approve {command}`；如需长期放行，请调高 `level`"
    ),
    "ambiguous": Reasoned(
        "主版本跨度过大，可能是误打的标签",
        "可执行 `updater approve {command}` 放行，或在 `tags` 中排除该标签，或调高 `max_major_step`",
    ),
    "min_age": Reasoned("发布时间不够长，仍在观察期"),
    "platform_missing": Reasoned("缺少所需的平台", "请补全缺失平台的构建，或在 `platforms` 中指定需要的平台"),
    "moved_tag": Reasoned(
        "标签指向的内容与首次发现时不同",
        "请先确认重新推送的原因；确认无误后执行 `updater approve {command}`，或设置 `moved_tag: follow`",
    ),
    "unverified": Reasoned("签名校验未通过", "请为镜像签名，或修正 `verify` 中的公钥或签名者"),
    "not_mirrored": Reasoned(
        "标签尚未同步到 Git 中使用的所有镜像地址", "请将该标签同步到对应地址，或去掉该别名的 `must_exist`"
    ),
    "held": Reasoned("已被人工暂停", "如需恢复更新，请执行 `updater resume {command}`"),
    "suspended": Reasoned("已在配置中暂停", "如需恢复更新，请去掉 `suspend`"),
    "window_closed": Reasoned("不在更新时间窗口内"),
    "incomplete_scan": Reasoned("镜像仓库返回的标签列表不完整"),
    "stale_scan": Reasoned("距上次完整扫描时间过长"),
    "human_rollback": Reasoned(
        "该版本已被人工回退", "出现更高版本后会自动继续；如需立即恢复，请执行 `updater resume {command}`"
    ),
    "human_edit": Reasoned(
        "自动提交的内容已被人工修改",
        "请处理完该合并请求；如需恢复自动更新，请执行 `updater resume {command}`",
    ),
    "flapping": Reasoned("近期刚由自动更新换掉该版本", "请检查是否有其他更新工具在修改同一位置"),
    "unparsable_current": Reasoned("Git 中的当前值不是该策略可识别的版本", "请先在 Git 中手动写入第一个版本"),
    "contested": Reasoned(
        "同一处引用匹配到多个条目",
        "请收窄 `image` 或 `paths`，使其只属于一个条目；执行 `updater find` 可查看具体位置",
    ),
    "not_referenced": Reasoned("Git 中没有文件引用它", "请在 Git 中引用该镜像，或删除对应条目"),
    "not_writable": Reasoned(
        "Git 中的写法无法安全改写",
        "请手动修改该处版本，或改写为普通的值；执行 `updater find` 可查看原因",
    ),
    "awaiting_merge": Reasoned("合并请求尚未合并", "请评审该合并请求，然后合并或关闭"),
    "pull_request_closed": Reasoned(
        "合并请求已被人工关闭", "出现更高版本后会自动继续；如需立即恢复，请执行 `updater resume {command}`"
    ),
}

_WHYS = (
    (r"(.+), newest of ([0-9]+)(?: but ([0-9]+) \((.+)\))?", "{_1}，{_2} 个候选中最新[，已跳过 {_3} 个（{_4}）]"),
    (r"(.+), (\S+) is newest of ([0-9]+)", "{_1}，{_3} 个候选中最新的是 {_2}"),
    (r"a (\w+) change, allowed is (\w+)", "本次为 {_1} 级变更，最高允许 {_2}"),
    (r"([0-9]+) majors ahead, allowed are ([0-9]+)", "主版本跨越 {_1} 个，最多允许 {_2} 个"),
    (r"([0-9]+ \w+(?: [0-9]+ \w+)?) left", "还需等待 {_1}"),
    (r"it was (\S+) when we first saw it and is (\S+) now", "首次发现时为 {_1}，现为 {_2}"),
    (r"it has (.+)", "现有 {_1}"),
    (r"a person went back from (\S+)", "有人从 {_1} 回退"),
    (r"lower than the current tag", "低于当前标签"),
    (r"outside the allow window (.+)", "当前不在允许更新的时间窗口内：{_1}"),
    (r"a deny window (.+) is open", "当前处于禁止更新的时间窗口：{_1}"),
    (r"held by a person(?: until (.+? UTC))?(?:: (.*))?", "人工暂停[，截止 {_1}][：{_2}]"),
    (r"rolled back, held until (.+)", "已回退，暂停至 {_1}"),
    (r"rolled back to (\S+) by a person", "由人工回退到 {_1}"),
    (r"rolled back by a person to what stood before (\S+)", "由人工回退到 {_1} 之前的版本"),
    (r"our own commits left (\S+) a short while ago", "近期的自动提交刚换掉 {_1}"),
    (r"another updater may want something else", "可能有其他更新工具在写入不同的版本"),
    (r"(.+) cannot read the current tag (\S+)", "{_1} 无法识别当前标签 {_2}"),
    (r"(.+): none of ([0-9]+) tags", "{_1}：{_2} 个标签均不符合"),
)

CHINESE = Words(
    kinds=_KINDS,
    back=_BACK,
    reasons=_REASONS,
    labels=Labels(
        image="镜像",
        change="版本",
        where="位置",
        digest="摘要",
        registry="镜像仓库",
        application="应用",
        project="项目",
        cluster="集群",
        images="涉及镜像",
        applications="涉及应用",
        objects="涉及资源",
        commit="提交",
        template="模板",
        see_commit="查看提交",
        see_notes="更新说明",
        see_page="查看详情",
    ),
    still="自 {since} 起状态未变",
    at="{repository} 仓库[ {branch} 分支][：{files}]",
    some="共 {count} 处，例如 {first}",
    more="{listed} 等共 {total} 个",
    group="{summary}（{about}）",
    comma="，",
    listing="、",
    aside="（{}）",
    unused="未使用：{why}",
    held_one="自 {since} 起有 1 条事件未能送达，可用 updater notify queue 查看",
    held_many="自 {since} 起有 {count} 条事件未能送达，可用 updater notify queue 查看",
    test_title="updater 测试消息（{channel}）",
    whys=tuple((re.compile(pattern), words) for pattern, words in _WHYS),
    pause="；",
    test_note="这是一条测试消息，收到即表示该通道可正常接收通知。发送时间：{at}。",
)
