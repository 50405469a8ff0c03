"""Texts of alerts and metrics, in English and Brazilian Portuguese.

Every text is about data that was found, and includes the figures.
"""

from typing import Final, Literal

Language = Literal["en", "pt-BR"]

_TEXTS: Final[dict[str, tuple[str, str]]] = {
    # Alerts and what the health score lost points for
    "quality_yellow": ("The quality rating is YELLOW", "A qualidade do número está AMARELA"),
    "quality_yellow.advice": (
        "Recipients block or report some of your messages: send less marketing, and only to people who asked for it.",
        "Destinatários bloqueiam ou denunciam parte das mensagens: envie menos marketing, e só a quem pediu.",
    ),
    "quality_red": ("The quality rating is RED", "A qualidade do número está VERMELHA"),
    "quality_red.advice": (
        "Stop marketing templates now and look at what was sent in the last 7 days: Meta may lower the limit or flag the number.",
        "Pare já os modelos de marketing e reveja o que foi enviado nos últimos 7 dias: a Meta pode reduzir o limite ou sinalizar o número.",
    ),
    "quality_unknown": ("Meta gives no quality rating", "A Meta não informa a qualidade"),
    "quality_unknown.advice": (
        "A new number has none until it has sent enough: send to people who expect you.",
        "Um número novo só a recebe depois de enviar o bastante: envie a quem espera sua mensagem.",
    ),
    "status": ("The number's status is {value}", "O status do número é {value}"),
    "status.advice": (
        "Open WhatsApp Manager > Phone numbers and follow what Meta asks for.",
        "Abra o Gerenciador do WhatsApp > Telefones e siga o que a Meta pede.",
    ),
    "sending": ("Meta says that sending is {value}", "Para a Meta, o envio está {value}"),
    "sending.advice": (
        "See the entities below: Meta names for each what blocks it and what to do.",
        "Veja as entidades abaixo: para cada uma a Meta diz o que bloqueia e o que fazer.",
    ),
    "name": ("The display name is {value}", "O nome de exibição está {value}"),
    "name.advice": (
        "Ask for another name or for a review in WhatsApp Manager.",
        "Peça outro nome, ou uma nova análise, no Gerenciador do WhatsApp.",
    ),
    "number_held": ("The number is on hold: {value}", "O número está parado: {value}"),
    "number_paused": ("The number was paused by hand", "O número foi pausado manualmente"),
    "number_paused.advice": (
        "Resume it when ready: POST /api/v1/whatsapp/numbers/{number}/resume.",
        "Retome quando quiser: POST /api/v1/whatsapp/numbers/{number}/resume.",
    ),
    "throttled": (
        "Meta throttles the number: {rate:g} of {allowed:g} messages per second",
        "A Meta limita o número: {rate:g} de {allowed:g} mensagens por segundo",
    ),
    "throttled.advice": (
        "PyTake speeds up again by itself, step by step; nothing is lost meanwhile.",
        "O PyTake acelera de novo sozinho, aos poucos; nada se perde enquanto isso.",
    ),
    "limit_near": (
        "{used} of {limit} recipients in the rolling 24 hours are used",
        "{used} de {limit} destinatários das últimas 24 horas já foram usados",
    ),
    "limit_near.advice": (
        "Further recipients wait until the window frees: put what is urgent first by priority.",
        "Novos destinatários esperam a janela liberar: ponha o urgente na frente pela prioridade.",
    ),
    "stale": (
        "The data from Meta is {minutes:.0f} minutes old: {problem}",
        "Os dados da Meta têm {minutes:.0f} minutos: {problem}",
    ),
    "stale.advice": (
        "Check the token and the network with `pytake doctor`.",
        "Confira o token e a rede com `pytake doctor`.",
    ),
    # What Meta's callback brought
    "number_unregistered": (
        "Messages arrive for number {value}, which is not registered",
        "Chegam mensagens para o número {value}, que não está cadastrado para ninguém",
    ),
    "number_unregistered.advice": (
        "They are stored but not answered. Register it (pytake number add {value} --tenant ...), or take it off this app's webhook at Meta.",
        "Elas são guardadas e não respondidas. Cadastre-o (pytake number add {value} --tenant ...) ou retire-o do webhook deste app na Meta.",
    ),
    "callback_set_aside": (
        "Parts of Meta's callback could not be stored, and were set aside",
        "Partes do webhook da Meta não puderam ser gravadas e foram separadas",
    ),
    "callback_set_aside.advice": (
        "List them at GET /api/v1/whatsapp/set-aside, and try each again (POST .../set-aside/{{id}}/replay) once the cause is fixed.",
        "Liste-as em GET /api/v1/whatsapp/set-aside e tente cada uma de novo (POST .../set-aside/{{id}}/replay) depois de corrigir a causa.",
    ),
    "callback_set_aside_full": (
        "Too many parts of Meta's callback are set aside: no more are taken",
        "Há partes demais do webhook da Meta separadas: nenhuma outra é aceita",
    ),
    "callback_set_aside_full.advice": (
        "Meta keeps sending what was refused for 7 days: fix the cause and replay what is listed at GET /api/v1/whatsapp/set-aside.",
        "A Meta reenvia o que foi recusado por 7 dias: corrija a causa e reprocesse o que está em GET /api/v1/whatsapp/set-aside.",
    ),
    "account_restricted": (
        "Meta restricts account {value}",
        "A Meta restringiu a conta {value}",
    ),
    "account_restricted.advice": (
        "See Business Support Home > Account for the reason; until the date given, what is restricted fails. Send nothing that people did not ask for, and appeal if it is wrong.",
        "Veja o motivo em Início do Suporte para Empresas > Conta; até a data indicada, o que foi restrito falha. Não envie o que não foi pedido e conteste se houver engano.",
    ),
    "account_violation": (
        "Meta reports a violation of its policy, account {value}",
        "A Meta apontou uma violação de política, conta {value}",
    ),
    "account_violation.advice": (
        "Stop what violates the policy now and appeal in Business Support Home if it is wrong: a further violation restricts or disables the account.",
        "Pare já o que viola a política e conteste no Início do Suporte para Empresas se houver engano: outra violação restringe ou desativa a conta.",
    ),
    "account_disabled": (
        "Meta disables account {value}",
        "A Meta desativa a conta {value}",
    ),
    "account_disabled.advice": (
        "Its numbers cannot send from that date on. Ask for a review in Business Support Home; pause the numbers so that messages wait.",
        "A partir dessa data nada sai dos números dela. Peça uma análise no Início do Suporte para Empresas; pause os números para que as mensagens esperem.",
    ),
    "account_partner_removed": (
        "The app lost its access to account {value}",
        "O app perdeu o acesso à conta {value}",
    ),
    "account_partner_removed.advice": (
        "Its messages fail and its callbacks end. Have the account's owner share it with the app again, in Business settings > Partners.",
        "As mensagens falham e os webhooks param. Peça ao dono da conta que a compartilhe de novo com o app, em Configurações do negócio > Parceiros.",
    ),
    "account_offboarded": (
        "The account was taken off the platform: {value}",
        "A conta saiu da plataforma: {value}",
    ),
    "account_offboarded.advice": (
        "Its numbers cannot send until it is connected again: go through the sign-up once more.",
        "Os números dela não enviam até que seja conectada de novo: refaça o cadastro.",
    ),
    "account_deleted": (
        "The account was deleted: {value}",
        "A conta foi excluída: {value}",
    ),
    "account_deleted.advice": (
        "Its numbers cannot send any more: move them to another account, and register them there.",
        "Os números dela não enviam mais: mova-os para outra conta e cadastre-os lá.",
    ),
    "account_alert": (
        "Meta's alert for account {value}",
        "Alerta da Meta para a conta {value}",
    ),
    "account_alert.advice": (
        "Open Business Support Home and follow what Meta asks for, then end this alert.",
        "Abra o Início do Suporte para Empresas e siga o que a Meta pede; depois encerre este alerta.",
    ),
    "template_paused": (
        "Meta paused template {value}",
        "A Meta pausou o modelo {value}",
    ),
    "template_paused.advice": (
        "It is paused for its low quality: 3 hours the first time, 6 the second, then it is disabled. Do not send it meanwhile; change its text or its audience.",
        "Foi pausado por baixa qualidade: 3 horas na primeira vez, 6 na segunda, depois é desativado. Não o envie enquanto isso; mude o texto ou o público.",
    ),
    "template_disabled": (
        "Meta disabled template {value}",
        "A Meta desativou o modelo {value}",
    ),
    "template_disabled.advice": (
        "It can no longer be sent or edited: create another one with a better text, and send that.",
        "Não pode mais ser enviado nem editado: crie outro com um texto melhor e envie esse.",
    ),
    "template_rejected": (
        "Meta rejected template {value}",
        "A Meta rejeitou o modelo {value}",
    ),
    "template_rejected.advice": (
        "Edit it as the reason says and submit it again, or appeal, in WhatsApp Manager.",
        "Edite-o conforme o motivo e envie de novo para análise, ou conteste, no Gerenciador do WhatsApp.",
    ),
    "template_flagged": (
        "Meta flagged template {value}",
        "A Meta sinalizou o modelo {value}",
    ),
    "template_flagged.advice": (
        "Its quality is low, and it will be disabled unless that improves: change its text or its audience.",
        "A qualidade está baixa: se não melhorar, ele é desativado. Mude o texto ou o público.",
    ),
    "template_locked": (
        "Meta locked template {value}",
        "A Meta bloqueou a edição do modelo {value}",
    ),
    "template_locked.advice": (
        "It cannot be edited for now: see WhatsApp Manager for the reason.",
        "Ele não pode ser editado por ora: veja o motivo no Gerenciador do WhatsApp.",
    ),
    "template_quality_red": (
        "The quality of template {value} is RED",
        "A qualidade do modelo {value} está VERMELHA",
    ),
    "template_quality_red.advice": (
        "Meta pauses templates of low quality: change its text or its audience before it does.",
        "A Meta pausa modelos de baixa qualidade: mude o texto ou o público antes disso.",
    ),
    "template_recategorised": (
        "Meta changed the category of template {value}",
        "A Meta mudou a categoria do modelo {value}",
    ),
    "template_recategorised.advice": (
        "Its price changes, and contacts who opted out of marketing no longer get it if it is now marketing. Ask for a review in WhatsApp Manager within 60 days if it is wrong.",
        "O preço muda, e quem saiu do marketing não o recebe mais se agora for marketing. Peça análise no Gerenciador do WhatsApp em até 60 dias se houver engano.",
    ),
    "template_category_impending": (
        "Meta is about to change the category of template {value}",
        "A Meta vai mudar a categoria do modelo {value}",
    ),
    "template_category_impending.advice": (
        "Edit it so that it fits its category, or ask for a review in WhatsApp Manager, before the change.",
        "Edite-o para que caiba na categoria, ou peça análise no Gerenciador do WhatsApp, antes da mudança.",
    ),
    # Problems of asking Meta
    "problem.token": ("Meta refused the access token", "A Meta recusou o token de acesso"),
    "problem.token.advice": (
        "Make a new permanent token of a system user and set WHATSAPP_ACCESS_TOKEN.",
        "Gere um novo token permanente de usuário do sistema e defina WHATSAPP_ACCESS_TOKEN.",
    ),
    "problem.unreachable": ("Meta could not be reached", "A Meta não pôde ser alcançada"),
    "problem.unreachable.advice": (
        "The network or Meta is down; PyTake asks again at the next snapshot.",
        "A rede ou a Meta está fora do ar; o PyTake pergunta de novo no próximo registro.",
    ),
    "problem.refused": ("Meta refused the request: {value}", "A Meta recusou a consulta: {value}"),
    "problem.refused.advice": (
        "The token needs whatsapp_business_management for this number's account.",
        "O token precisa de whatsapp_business_management na conta deste número.",
    ),
    "problem.budget": (
        "Meta's budget of management calls is used up",
        "A cota de chamadas de gestão da Meta acabou",
    ),
    "problem.budget.advice": (
        "PyTake asks again when it is restored; look for other programs that use the same app.",
        "O PyTake volta a consultar quando for liberada; veja se outro programa usa o mesmo app.",
    ),
    "problem.workers": (
        "No worker answered in time",
        "Nenhum worker respondeu a tempo",
    ),
    "problem.workers.advice": (
        "Start a worker: workers make the requests to Meta.",
        "Inicie um worker: é ele que consulta a Meta.",
    ),
    # Risk factors
    "risk.failures": (
        "{count} of {total} messages failed in the last 7 days ({rate:.1%})",
        "{count} de {total} mensagens falharam nos últimos 7 dias ({rate:.1%})",
    ),
    "risk.failures.advice": (
        "The most frequent is ({code}) {title}: {advice}",
        "A mais frequente é ({code}) {title}: {advice}",
    ),
    "risk.blocks": (
        "{count} failures in the last 7 days show that recipients do not want the messages (codes {codes})",
        "{count} falhas dos últimos 7 dias dizem que os destinatários não querem as mensagens (códigos {codes})",
    ),
    "risk.blocks.advice": (
        "Take these contacts out of marketing lists and slow the campaigns down.",
        "Tire esses contatos das listas de marketing e diminua o ritmo das campanhas.",
    ),
    "risk.opt_outs": (
        "{count} contacts opted out in the last 7 days, {per_thousand:.1f} per thousand delivered messages",
        "{count} contatos saíram nos últimos 7 dias, {per_thousand:.1f} a cada mil mensagens entregues",
    ),
    "risk.opt_outs.advice": (
        "Compare with what was sent on those days, and send fewer, better targeted messages.",
        "Compare com o que foi enviado nesses dias e mande menos mensagens, mais bem escolhidas.",
    ),
    "risk.read_rate": (
        "{rate:.0%} of the delivered messages were read in the last 7 days, {before:.0%} in the 7 days before",
        "{rate:.0%} das entregues foram lidas nos últimos 7 dias, contra {before:.0%} nos 7 dias anteriores",
    ),
    "risk.read_rate.advice": (
        "Fewer recipients read your messages: check the templates, timing and audience of the last campaigns.",
        "Menos gente lê: reveja modelos, horário e público das últimas campanhas.",
    ),
    "risk.template": (
        "Template {name} ({language}) is {status}",
        "O modelo {name} ({language}) está {status}",
    ),
    "risk.template.advice": (
        "Do not send it until Meta approves it again; edit it in WhatsApp Manager.",
        "Não o envie até a Meta aprová-lo de novo; edite-o no Gerenciador do WhatsApp.",
    ),
    "risk.template_quality": (
        "Template {name} ({language}) has quality {quality}",
        "O modelo {name} ({language}) tem qualidade {quality}",
    ),
    "risk.template_quality.advice": (
        "Meta pauses templates of low quality: change its text or its audience.",
        "A Meta pausa modelos de baixa qualidade: mude o texto ou o público.",
    ),
    # Limits
    "next_tier": (
        "The limit rises to {limit} if the quality stays above RED and at least {needed} different people receive messages within 7 days; so far {reached} have",
        "O limite sobe para {limit} se a qualidade ficar acima de VERMELHA e ao menos {needed} pessoas diferentes receberem mensagens em 7 dias; foram {reached}",
    ),
    "next_tier_unlimited": (
        "The limit becomes unlimited if the quality stays above RED and at least {needed} different people receive messages within 7 days; so far {reached} have",
        "O limite passa a ilimitado se a qualidade ficar acima de VERMELHA e ao menos {needed} pessoas diferentes receberem mensagens em 7 dias; foram {reached}",
    ),
    "next_tier_blocked": (
        "The limit does not rise while the quality rating is {quality} and the status {status}",
        "O limite não sobe enquanto a qualidade for {quality} e o status {status}",
    ),
}


def say(key: str, language: Language, **values: object) -> str:
    """The text of a key, with ``values`` filled in."""
    english, portuguese = _TEXTS[key]
    return (portuguese if language == "pt-BR" else english).format(**values)


def keys() -> list[str]:
    """Every key."""
    return list(_TEXTS)
